"""Loss and accuracy over the epochs of one training.

In: the history of a run. Out: a table of the curves (tested), its description, and its drawing as inline SVG. It does
not know where the history comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from housetrain.report.plots.frame import Frame, numbers, padded, percents
from housetrain.report.plots.svg import room_for, ticks
from housetrain.system.text import format_count, format_percent
from housetrain.training.history import Unit, unit_of
from housetrain.training.overfitting import overfitting_text

if TYPE_CHECKING:
    from markupsafe import Markup

LEGEND = (("training line", "training images"), ("validation line", "validation images"), ("best", "best, kept"))
"""(CSS classes, text) of the legend."""
_FEW_POINTS = 40  # with so few epochs the points are drawn large


@dataclass(frozen=True)
class Curves:
    """A training, epoch by epoch or along a regularization path. A value that is not a number is ``None``.

    Attributes:
        epochs: From 1; the steps of a path.
        loss, val_loss, accuracy, val_accuracy: One value per epoch; accuracies in [0, 1].
        best: The epoch whose weights are kept, ``None`` before the first has ended.
        overfitting: The epoch at which overfitting begins, ``None`` if it does not.
        unit: What ``epochs`` counts: ``"epoch"``, or ``"step"`` of a regularization path.
    """

    epochs: tuple[int, ...]
    loss: tuple[float | None, ...]
    val_loss: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    val_accuracy: tuple[float | None, ...]
    best: int | None
    overfitting: int | None
    unit: Unit = "epoch"

    def at(self, name: str, epoch: int) -> float | None:
        """Return the value of the series ``name`` at ``epoch``."""
        values: tuple[float | None, ...] = getattr(self, name)
        return values[self.epochs.index(epoch)]


def curve_table(
    history: Sequence[Mapping[str, Any]], *, best: int | None = None, overfitting: int | None = None
) -> Curves:
    """Return the curves of a history.

    Args:
        history: One mapping per epoch, as `housetrain.training.run.Run.history`.
        best: The epoch whose weights are kept; by default that of the lowest validation loss.
        overfitting: The epoch at which overfitting begins, as `housetrain.training.overfitting.overfitting` finds it.
    """
    unit = unit_of(history)
    epochs = tuple(int(row.get(unit, number)) for number, row in enumerate(history, 1))
    series = {
        name: tuple(None if row.get(name) is None else float(row[name]) for row in history)
        for name in ("loss", "val_loss", "accuracy", "val_accuracy")
    }
    if best not in epochs:
        losses = [(value, epoch) for value, epoch in zip(series["val_loss"], epochs, strict=True) if value is not None]
        best = min(losses)[1] if losses else None
    return Curves(epochs, best=best, overfitting=overfitting if overfitting in epochs else None, unit=unit, **series)


def describe_training(curves: Curves, history: Sequence[Mapping[str, Any]]) -> str:
    """Return a summary of the training in one or two sentences."""
    if curves.best is None:
        return "No epoch is finished yet."
    loss, accuracy = curves.at("val_loss", curves.best), curves.at("val_accuracy", curves.best)
    text = f"{format_count(len(curves.epochs), 'epoch')}; best epoch {curves.best}, whose weights are kept"
    if curves.unit == "step":
        text = f"{format_count(len(curves.epochs), 'regularization strength')}; step {curves.best} is kept"
    if loss is not None and accuracy is not None:
        text += f" (validation loss {loss:.4f}, validation accuracy {format_percent(accuracy)})"
    if found := overfitting_text(history):
        return f"{text}. {found}"
    if curves.unit == "epoch" and len(curves.epochs) > 2 and curves.best == curves.epochs[-1]:
        return f"{text}. The last epoch is the best: training longer may improve the model."
    return f"{text}."


def draw_curves(curves: Curves, name: Literal["loss", "accuracy"], *, epochs: int = 0) -> Markup:
    """Draw training and validation ``name`` over the epochs, the best epoch marked, overfitting shaded.

    Args:
        curves: The table.
        name: ``"loss"`` or ``"accuracy"``.
        epochs: Planned epochs, so that the axis does not move during the training; by default those of the table.
    """
    training: tuple[float | None, ...] = getattr(curves, name)
    validation: tuple[float | None, ...] = getattr(curves, f"val_{name}")
    low, high = padded((*training, *validation), pad=0.08)
    high = min(1.0, high) if name == "accuracy" else high
    first = curves.epochs[0] if curves.epochs else 1
    last = max(epochs, first + 1, *curves.epochs)
    text = percents if name == "accuracy" else numbers
    frame = Frame(_label(curves, name), (first, last), (low, high), y_text=text)
    drawing = frame.drawing
    if curves.overfitting is not None:
        start, end = frame.x(max(first, curves.overfitting - 0.5)), frame.x(curves.epochs[-1])
        drawing.rect(start, frame.top, end - start, frame.bottom - frame.top, "overfit")
        if end - start > 68:
            drawing.text(end - 6, frame.top + 15, "overfitting", "overfit-name", anchor="end")
    frame.draw_y_axis()
    frame.draw_x_axis(curves.unit, [tick for tick in ticks(first, last, count=8) if tick == int(tick)])
    if curves.best is not None:
        drawing.line(frame.x(curves.best), frame.top, frame.x(curves.best), frame.bottom, "best-line")
    for style, values in (("training", training), ("validation", validation)):
        _draw_series(frame, curves, values, style=style, name=name)
    if curves.best is not None and (value := curves.at(f"val_{name}", curves.best)) is not None:
        drawing.circle(frame.x(curves.best), frame.y(value), 5.5, "ring validation")
        _draw_best(frame, curves, f"{_value(name, value)} at {curves.unit} {curves.best}", name)
    return drawing.markup()


def _draw_series(frame: Frame, curves: Curves, values: Sequence[float | None], *, style: str, name: str) -> None:
    epochs = curves.epochs
    points = [
        None if value is None else (frame.x(epoch), frame.y(value)) for epoch, value in zip(epochs, values, strict=True)
    ]
    frame.drawing.polyline(points, f"curve {style}")
    radius = 2.2 if len(points) <= _FEW_POINTS else 1.2
    for epoch, value, point in zip(epochs, values, points, strict=True):
        if point is not None and value is not None:
            tip = f"{style}, {curves.unit} {epoch}: {_value(name, value)}"
            frame.drawing.circle(*point, radius, f"dot {style}", tip=tip)


def _draw_best(frame: Frame, curves: Curves, text: str, name: str) -> None:
    """Write the best value where no curve crosses it: above the falling loss or below the rising accuracy."""
    x = frame.x(curves.best or 0)
    width = room_for(text)
    to_the_left = x + width > frame.right
    begin = x + 6 - width if to_the_left else x - 6
    near = [
        frame.y(value)
        for series in (name, f"val_{name}")
        for epoch, value in zip(curves.epochs, getattr(curves, series), strict=True)
        if value is not None and begin - 8 < frame.x(epoch) < begin + width + 8
    ]
    levels = [min(near) - 12, max(near) + 22]
    fitting = [level for level in levels if frame.top + 30 < level < frame.bottom - 6] or [frame.top + 30]
    place = (x + 6 if to_the_left else begin), fitting[0 if name == "loss" else -1]
    frame.drawing.text(*place, text, "strong halo", anchor="end" if to_the_left else "start")


def _value(name: str, value: float) -> str:
    return f"{value * 100:.1f} %" if name == "accuracy" else f"{value:.3f}"


def _label(curves: Curves, name: str) -> str:
    text = f"{name.capitalize()} over {len(curves.epochs)} {curves.unit}s."
    if curves.best is not None and (value := curves.at(f"val_{name}", curves.best)) is not None:
        text += f" Validation {name} {_value(name, value)} at the best {curves.unit}, {curves.best}."
    if curves.overfitting is not None:
        text += f" Overfitting begins at epoch {curves.overfitting}."
    return text
