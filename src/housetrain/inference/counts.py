"""How often each class was predicted, and how many predictions need a person's look.

In: predictions, one after another. Out: one line for people. It does not know where the predictions come from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from housetrain.system.text import format_count, format_percent

_MOST_CLASSES = 20  # named in one line


@dataclass
class Counts:
    """Counts of predictions.

    Attributes:
        labels: Class -> predictions, the unsure ones included.
        unsure: How many are unsure.
        novel: How many images are unlike the training images.
    """

    labels: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    novel: int = 0

    def add(self, label: str, *, unsure: bool, novel: bool) -> None:
        """Count a prediction; an image that could not be read has no label and is not counted."""
        if label:
            self.labels[label] += 1
            self.unsure += unsure
            self.novel += novel

    def text(self) -> str:
        """Return ``cats 12, dogs 30; 5 of them unsure``, of many classes the most frequent, and the share to check."""
        shown = sorted(self.labels.items(), key=lambda item: (-item[1], item[0]))
        listed = ", ".join(f"{label} {count:,}" for label, count in shown[:_MOST_CLASSES])
        more = f" and {format_count(len(shown) - _MOST_CLASSES, 'more class', 'more classes')}"
        total = self.labels.total()
        share = f" ({format_percent(self.unsure / total)}, for a person to check)" if self.unsure else ""
        novel = f"; {self.novel:,} of them unlike the training images" if self.novel else ""
        return f"{listed}{more if len(shown) > _MOST_CLASSES else ''}; {self.unsure:,} of them unsure{share}{novel}"
