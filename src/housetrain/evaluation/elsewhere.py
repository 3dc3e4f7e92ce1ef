"""What is known of the images of a test on another folder: one frozen value, JSON-plain.

In: facts that `housetrain.evaluation.evaluate_on` found. Out: an `Elsewhere`, part of an `Evaluation`. It does not know
how anything was computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from housetrain.evaluation.metrics import Interval, pair
from housetrain.inference.novelty import FALSE_ALARMS
from housetrain.system.text import format_count, format_interval, format_list, format_percent

SHIFTED = 0.3
"""Kolmogorov-Smirnov distance from which a property is called shifted: at least 30 % of the images differ in it."""

SURE = 1e-3
"""Largest probability of such a distance by chance for it to be called shifted."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How one property of the images differs from that of the training images.

    Attributes:
        name: The property, such as ``brightness``.
        unit: What its numbers mean.
        trained: The 5 %, 50 % and 95 % quantiles of the training images (of validation images for ``novelty`` and
            ``confidence``).
        here: Those of the images tested here.
        distance: Kolmogorov-Smirnov distance of the two distributions, 0 to 1.
        p_value: Probability of such a distance by chance.
    """

    name: str
    unit: str
    trained: tuple[float, float, float]
    here: tuple[float, float, float]
    distance: float
    p_value: float

    @property
    def shifted(self) -> bool:
        """Whether the difference is large and no accident; a lower novelty is none."""
        harmless = self.name == "novelty" and self.here[1] <= self.trained[1]
        return self.distance >= SHIFTED and self.p_value <= SURE and not harmless

    @property
    def text(self) -> str:
        """The change of the median, in words: ``brightness is lower (median 41, trained on 118)``."""
        more = (
            "higher" if self.here[1] > self.trained[1] else "lower" if self.here[1] < self.trained[1] else "different"
        )
        return f"{self.name} is {more} (median {self.here[1]:.4g}, trained on {self.trained[1]:.4g})"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Shift:
        """Return the value that ``dataclasses.asdict`` converted."""
        return cls(**{**value, "trained": tuple(value["trained"]), "here": tuple(value["here"])})


class Novel(NamedTuple):
    """Images unlike anything that the model was trained on; see `housetrain.inference.novelty`."""

    n: int
    novel: int
    interval: Interval

    @property
    def text(self) -> str:
        """The share in words, beside that of images like the training images."""
        share, interval = format_percent(self.novel / self.n), format_interval(self.interval)
        return (
            f"{share} of the images (95 % interval {interval}) are unlike anything that the model was trained on; of "
            f"images like its own, about {format_percent(FALSE_ALARMS, 0)} are"
        )


class WithoutCopies(NamedTuple):
    """The accuracy on the images that are no copies of training images."""

    n: int
    correct: int
    interval: Interval


@dataclass(frozen=True)
class Elsewhere:
    """Where the images of an evaluation come from, when that is not the test split of the run.

    Attributes:
        name: Name of the folder in ``RUN/evaluations/``.
        folder: The folder of images.
        unknown: Classes of the folder that the model does not know -> images, which are not tested.
        absent: Classes of the model of which the folder has no image.
        left_out: Kind of finding -> images left out because of it.
        exact_copies: Images whose files are training or validation images.
        near_copies: Images that look the same as training or validation images; ``None`` where those are gone.
        without_copies: The accuracy without both; ``None`` where there are none, or nothing else.
        shift: How the images differ from the training images; empty where those are gone.
        class_map: Class names that were renamed, merged or dropped.
        novel: How many of the tested images are novel; ``None`` for a model that cannot tell.
    """

    name: str
    folder: str
    unknown: dict[str, int] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    exact_copies: tuple[str, ...] = ()
    near_copies: tuple[str, ...] | None = None
    without_copies: WithoutCopies | None = None
    shift: tuple[Shift, ...] = ()
    class_map: dict[str, str] = field(default_factory=dict)
    novel: Novel | None = None

    @property
    def copies(self) -> tuple[str, ...]:
        """All copies of training or validation images, exact ones first."""
        return (*self.exact_copies, *(self.near_copies or ()))

    def remarks(self) -> list[str]:
        """Return what must be known to read the accuracy, a sentence each, without a period."""
        said = []
        if self.unknown:
            count = sum(self.unknown.values())
            classes = format_count(len(self.unknown), "class", "classes")
            names = format_list(sorted(self.unknown, key=lambda name: -self.unknown[name]), quote=True)
            said.append(
                f"{format_count(count, 'image')} of {classes} that the model does not know "
                f"{'is' if count == 1 else 'are'} not tested: {names}"
            )
        if self.absent:
            said.append(
                f"The folder has no image of {format_count(len(self.absent), 'class', 'classes')} of the model: "
                f"{format_list(self.absent, quote=True)}"
            )
        if self.left_out:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.left_out.items())
            said.append(f"Left out: {kinds}")
        if self.copies:
            said.append(self._copies_text())
        if self.near_copies is None:
            said.append("The training images are gone: near copies of them were not searched")
        if self.novel is not None:
            said.append(self.novel.text)
        shifted = [one.text for one in self.shift if one.shifted]
        if shifted:
            said.append(f"The images differ from the training images: {'; '.join(shifted)}")
        elif self.shift:
            said.append("The images do not differ clearly from the training images in what was measured")
        return said

    def _copies_text(self) -> str:
        exact, near = len(self.exact_copies), len(self.near_copies or ())
        what = " and ".join(f"{count:,} {kind}" for count, kind in ((exact, "exact"), (near, "near")) if count) + (
            " copy" if exact + near == 1 else " copies"
        )
        text = f"{what} of images the model was trained on or chosen by: {format_list(self.copies, limit=3)}"
        if (rest := self.without_copies) is None:
            return f"{text}; nothing else is there"
        share = format_percent(rest.correct / rest.n)
        return f"{text}. Without copies: {share} of {rest.n:,} images, 95 % interval {format_interval(rest.interval)}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        value = asdict(self)
        if self.without_copies is not None:
            value["without_copies"] = {
                "accuracy": self.without_copies.correct / self.without_copies.n,
                **self.without_copies._asdict(),
            }
        value["novel"] = self.novel and {"share": self.novel.novel / self.novel.n, **self.novel._asdict()}
        value["shift"] = [{**asdict(one), "shifted": one.shifted} for one in self.shift]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Elsewhere:
        """Return the value that `to_json` converted."""
        rest, near, novel = value["without_copies"], value["near_copies"], value.get("novel")
        shift = [{name: one[name] for name in Shift.__dataclass_fields__} for one in value["shift"]]
        return cls(
            **{
                **value,
                "absent": tuple(value["absent"]),
                "exact_copies": tuple(value["exact_copies"]),
                "near_copies": None if near is None else tuple(near),
                "without_copies": rest
                and WithoutCopies(rest["n"], rest["correct"], pair(rest["interval"]) or (0.0, 1.0)),
                "novel": novel and Novel(novel["n"], novel["novel"], pair(novel["interval"]) or (0.0, 1.0)),
                "shift": tuple(Shift.from_json(one) for one in shift),
            }
        )
