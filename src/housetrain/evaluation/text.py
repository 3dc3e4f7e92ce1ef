"""Numbers and results in words that a person who was not there understands.

In: an evaluation, counts, a history. Out: plain sentences. It does not know of HTML; nothing here is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from housetrain.errors import one_line
from housetrain.system.durations import format_duration
from housetrain.training.overfitting import overfitting_in_words

if TYPE_CHECKING:
    from housetrain.evaluation.evaluation import Evaluation
    from housetrain.evaluation.metrics import Interval
    from housetrain.report.plots.evaluation_plots import Confusion, Curves, Reliability

NBSP = "\u00a0"
JOINER = "\u2060"
"""Keeps the two ends of an interval on one line."""
FEW_TEST_IMAGES = 30
"""With fewer test images of a class its recall is known to no better than about 15 points either way."""


def shown(text: str) -> str:
    """Return ``text`` on one line with control characters visible, but for the two above."""
    if text.isprintable():
        return text
    return "".join(letter if letter in (NBSP, JOINER) else one_line(letter) for letter in text)


def percent(share: float | None, digits: int = 1) -> str:
    """Return 0.9012 as ``90.1 %`` (with a space that does not break), a missing share as a dash."""
    return "–" if share is None else f"{share * 100:.{digits}f}{NBSP}%"


def interval(bounds: Interval | None, digits: int = 1) -> str:
    """Return (0.883, 0.917) as ``88.3–91.7 %``."""
    return "" if bounds is None else f"{bounds[0] * 100:.{digits}f}–{JOINER}{bounds[1] * 100:.{digits}f}{NBSP}%"


def number(value: float | None, digits: int = 3) -> str:
    """Return a whole number with thousands separators, another with so many digits, a missing one as a dash."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def plural(count: int, one: str, many: str = "") -> str:
    """Return ``1 image`` or ``1,180 images``."""
    return f"{count:,}{NBSP}{one if count == 1 else many or one + 's'}"


def duration(seconds: float | None) -> str:
    """Return a duration that no line break divides. See `format_duration`."""
    return format_duration(seconds).replace(" ", NBSP)


def size(count: float) -> str:
    """Return a number of bytes as ``12.3 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f}{NBSP}{unit}" if unit == "bytes" else f"{count:,.1f}{NBSP}{unit}"
        count /= 1000
    raise AssertionError("unreachable")


def listed(names: Sequence[str], *, limit: int = 5, last: str = "and", quote: bool = False) -> str:
    """Return ``a, b and c``; beyond ``limit`` names ``a, b, c and 7 more``."""
    shown = [f"“{one_line(name)}”" if quote else one_line(name) for name in names]
    if len(shown) > limit:
        return f"{', '.join(shown[: limit - 1])} {last} {len(shown) - limit + 1:,} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}" if shown else ""


def sentence(text: str) -> str:
    """Return ``text`` with a capital at its begin and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def headline(evaluation: Evaluation) -> str:
    """Return the verdict without the first number: what a report says beside the large one."""
    guess, share = one_line(evaluation.baseline.label), percent(evaluation.baseline.accuracy)
    words = (
        f"Right on {evaluation.correct:,} of {plural(evaluation.n, 'image')} it had never seen "
        f"(95{NBSP}% interval {interval(evaluation.accuracy_interval)}). Always guessing “{guess}” would be right on "
        f"{share}"
    )
    if evaluation.beats_baseline:
        return f"{words}."
    return f"{words}: it is not shown that the model does better than guessing."


def calibration_in_words(table: Reliability, ece: float) -> str:
    """Return whether the probabilities can be taken at their word."""
    says = f"On average it says {percent(table.certainty)} and is right on {percent(table.accuracy)}."
    if ece < 0.03:
        return f"The probabilities can be taken at their word. {says}"
    gap = table.certainty - table.accuracy
    if abs(gap) < 0.01:
        return f"{says} In between it is too sure in places and too modest in others."
    return f"The model is {'over' if gap > 0 else 'under'}-confident. {says}"


def confusion_in_words(table: Confusion) -> str:
    """Return the most frequent mistake as a sentence."""
    if not table.pairs:
        return "No image of the test was taken for another class."
    true, called, count, share = table.pairs[0]
    if count == 1 and len(table.pairs) > 1:
        return f"{len(table.pairs):,} mistakes, no two of them alike."
    times = "once" if count == 1 else f"{count:,} times"
    names = f"“{one_line(true)}” called “{one_line(called)}”"
    return f"The most frequent mistake: {names}, {times} ({percent(share)} of them)."


def training_in_words(curves: Curves, history: Sequence[Mapping[str, Any]]) -> str:
    """Return how the training went."""
    if curves.best is None:
        return "No epoch is finished yet."
    loss, accuracy = curves.at("val_loss", curves.best), curves.at("val_accuracy", curves.best)
    words = f"{plural(len(curves.epochs), 'epoch')}; the weights of epoch {curves.best} are kept"
    if loss is not None and accuracy is not None:
        words += f", with validation loss {loss:.4f} and accuracy {percent(accuracy)}"
    found = overfitting_in_words(history)
    if found:
        return f"{words}. {found}"
    if len(curves.epochs) > 2 and curves.best == curves.epochs[-1]:
        return f"{words}. The last epoch was the best: a longer training may do better."
    return f"{words}."


def limits(
    evaluation: Evaluation | None,
    counts: Mapping[str, Mapping[str, int]],
    *,
    findings: Mapping[str, int],
    left_out: int,
    history: Sequence[Mapping[str, Any]] = (),
) -> tuple[tuple[str, str], ...]:
    """Return what the numbers do not say, as (few words, sentences), the most serious first.

    Args:
        evaluation: The test result, or ``None``.
        counts: SplitManifest -> class -> images.
        findings: Kind of finding -> how many.
        left_out: Images left out.
        history: One mapping an epoch.
    """
    found: list[tuple[str, str]] = []
    if evaluation is None:
        found.append((
            "Not tested",
            "The test images were not opened yet: the validation numbers helped to choose the epoch, so they are a "
            "little too good.",
        ))  # fmt: skip
    else:
        found += _limits_of_test(evaluation)
    sizes = {name: total for name, total in counts.get("train", {}).items() if total}
    if sizes and max(sizes.values()) >= 2 * min(sizes.values()):
        most, least = max(sizes, key=lambda name: sizes[name]), min(sizes, key=lambda name: sizes[name])
        found.append((
            "Uneven classes",
            f"“{one_line(most)}” has {sizes[most]:,} training images, “{one_line(least)}” {sizes[least]:,}. The "
            "accuracy is mostly that of the large classes: look at the recall of the small ones.",
        ))  # fmt: skip
    if (began := overfitting_in_words(history)) != "":
        found.append(("Overfitting", f"{began} More images, more augmentation or a smaller model would help."))
    if near := findings.get("near-duplicate", 0) + findings.get("near-two-labels", 0):
        found.append((
            "Near duplicates",
            f"{plural(near, 'group')} of nearly the same image. A group is kept on one side, so none of "
            "them flatters the test; those that the comparison misses may.",
        ))  # fmt: skip
    if left_out:
        found.append((
            "Left out",
            f"{plural(left_out, 'image')} took no part, each for the reason given below. In use, such images "
            "will come.",
        ))  # fmt: skip
    found.append((
        "Images from elsewhere",
        "The test images are from the same folder as the training images: the same sources, cameras and habits. On "
        "images from elsewhere expect less, and test again on some of those.",
    ))  # fmt: skip
    classes = list(dict.fromkeys(name for per_class in counts.values() for name in per_class))
    found.append((
        "Something else",
        f"The model knows {listed(classes, limit=4, quote=True)} and nothing else. Shown something else, it still "
        "names one of them, at times with certainty.",
    ))  # fmt: skip
    return tuple(found)


def _limits_of_test(evaluation: Evaluation) -> list[tuple[str, str]]:
    found = []
    low, high = evaluation.accuracy_interval
    if not evaluation.beats_baseline:
        found.append((
            "No better than guessing",
            f"The interval {interval((low, high))} does not lie above the {percent(evaluation.baseline.accuracy)} of "
            f"always guessing “{one_line(evaluation.baseline.label)}”. Nothing shows that the model learned to tell "
            "the classes apart.",
        ))  # fmt: skip
    if high - low > 0.05:
        found.append((
            "A small test",
            f"With {plural(evaluation.n, 'test image')} the accuracy is known to about {(high - low) * 50:.0f} "
            "points either way. Do not read a meaning into smaller differences between two models.",
        ))  # fmt: skip
    few = [name for name, scores in evaluation.per_class.items() if scores.support < FEW_TEST_IMAGES]
    if few and high - low <= 0.05:
        found.append((
            "Few test images of some classes",
            f"{listed(few, quote=True)}: fewer than {FEW_TEST_IMAGES} each. Their own numbers are rough; see the "
            "intervals.",
        ))  # fmt: skip
    if evaluation.ece > 0.05:
        found.append((
            "Certainty",
            f"What the model calls certain differs from how often it is right by {evaluation.ece * 100:.0f} points on "
            "average. Do not take its probabilities at their word.",
        ))  # fmt: skip
    if evaluation.models_tested > 1:
        found.append((
            "The test was opened before",
            f"{evaluation.opened} times, for {evaluation.models_tested} different sets of weights of this run. Whoever "
            "chooses by the test makes its number too good.",
        ))  # fmt: skip
    return found
