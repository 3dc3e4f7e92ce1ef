"""Tables for notebooks: what a value shows of itself in Jupyter.

In: a title, column names, rows of plain values. Out: an HTML fragment. It knows nothing of the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

MOST_ROWS = 30


def html_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as HTML, every text escaped.

    Args:
        title: Shown above the table.
        columns: Names of the columns.
        rows: One value per column; a float is shown with 4 digits, ``None`` as nothing. Rows after the first
            `MOST_ROWS` are counted, not shown.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows[:MOST_ROWS])
    more = f"<p>and {len(rows) - MOST_ROWS:,} more</p>" if len(rows) > MOST_ROWS else ""
    return f"<p>{escape(title)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
