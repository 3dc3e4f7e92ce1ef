"""A spreadsheet shows what a table holds and runs none of it; names put no control characters on the terminal."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from handmade_runs import MakeRun, made_up_evaluation
from small_run import Housetrain, Tiny

from housetrain.data.findings import Finding, write_findings
from housetrain.evaluation.evaluation import Evaluation
from housetrain.inference.batch_predict import _Rows
from housetrain.inference.prediction import Prediction
from housetrain.sweeps.leaderboard import Leaderboard
from housetrain.sweeps.results import Row
from housetrain.system.csv_rows import read_rows, write_row

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''@x", "＝1", "=cmd|' /C calc'!A0"]
PLAIN = ["cat.jpg", "a=b", "'quoted'", "'", "", "1,5", '"=1"', "new\nline"]


@pytest.mark.parametrize("text", [*FORMULAS, *PLAIN])
def test_formulas_are_defused_and_read_back(text: str) -> None:
    table = io.StringIO(newline="")
    write_row(table, [text, -1.5, None], end="\r\n")
    cells = next(csv.reader(io.StringIO(table.getvalue(), newline="")))
    assert cells[1:] == ["-1.5", ""]
    assert cells[0] == (text if text in PLAIN else f"'{text}")
    assert next(read_rows(io.StringIO(table.getvalue(), newline=""))) == [text, "-1.5", ""]


def dangerous(data: str) -> list[str]:
    rows = csv.reader(io.StringIO(data, newline=""))
    return [cell for row in rows for cell in row if cell.lstrip("\t\r\n")[:1] in tuple("=+-@") and not _is_number(cell)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell
    return True


def test_every_table_is_defused(make_run: MakeRun, tmp_path: Path) -> None:
    write_findings([Finding("k", "note", "=t", ("=a.jpg",), (), "@do", "=m", ("-d",))], tmp_path / "findings.csv")
    prediction = Prediction.failed("=x.jpg", "=reason")
    rows = _Rows("csv", 2)
    row = Row(name="=1+1", state="failed", reason="@x", settings={"=s": "+v"}, val_loss=-0.5)
    board = Leaderboard(tmp_path, (row,), {}, 10, "cat", 0.5, "grid", True)
    evaluation = made_up_evaluation(make_run(["=cat", "@dog"]))
    evaluation.save(tmp_path / "evaluation")
    tables = [
        (tmp_path / "findings.csv").read_text(),
        rows.encode(prediction).decode(),
        board.to_csv(),
        (tmp_path / "evaluation" / "predictions.csv").read_text(),
    ]
    assert [dangerous(table) for table in tables] == [[]] * 4
    assert all("'" in table for table in tables)
    assert Evaluation.load(tmp_path / "evaluation").rows == evaluation.rows
    assert list(rows.images(iter([rows.header, rows.encode(prediction)]))) == ["=x.jpg"]


def test_no_control_character_reaches_the_terminal(tiny: Tiny, housetrain: Housetrain, tmp_path: Path) -> None:
    images, evil = tmp_path / "images", "\x1b]0;x\x07\x1b[31m\x9bred"
    for source, name in (("cats", evil), ("dogs", "dogs")):
        shutil.copytree(tiny.images / source, images / name)
    (images / "dogs" / "0.png").rename(images / "dogs" / f"{evil}.png")
    (images / "dogs" / f"{evil} damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    (images / evil / f"{evil} twice.png").write_bytes((images / "dogs" / "1.png").read_bytes())
    calls = [
        ("check", images), ("show", images, "--output", "sheet.png"), ("predict", tiny.run, images),
        ("prepare", images, "--image-size", 12, "--output", evil), ("check", images / "no" / evil),
        ("predict", tiny.run, "gone" + evil), ("run", images, "--model", evil), ("leaderboard", images),
    ]  # fmt: skip
    for words in calls:
        done = housetrain(*words)
        assert "Traceback" not in done.stderr and done.returncode in (0, 1, 2), done.stderr
        assert not set("\x1b\x07\x9b") & set(done.stdout + done.stderr), words


def test_a_path_that_is_gone_is_one_row_and_the_others_are_answered(tiny: Tiny, housetrain: Housetrain) -> None:
    photos = [tiny.images / "cats" / "1.png", "gone.png", tiny.images / "dogs" / "2.png"]
    done = housetrain("predict", tiny.run, *photos)
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and len(lines) == 3
    assert "of them unsure" in done.stderr and "Traceback" not in done.stderr
    assert lines[1] == "gone.png\tcould not be read: file not found"
    done = housetrain("predict", tiny.run, *photos, "--jsonl", "out.jsonl", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and [bool(row["error"]) for row in rows] == [False, True, False]
    assert housetrain("predict", tiny.run, "gone.png").returncode == 2
