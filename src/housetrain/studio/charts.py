"""What the page draws: tables of the other rooms as Vega-Lite, which follows the page's light or dark theme.

In: plain values. Out: specifications, plain dicts. The tables are made, and tested, in `housetrain.results`; nothing is
computed here but where a label goes. Streamlit draws a plain specification without importing Altair or pandas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from housetrain.evaluation.metrics import CalibrationBin
from housetrain.report.plots.evaluation_plots import Curves
from housetrain.report.plots.sweep_plots import Curve, Factor
from housetrain.sweeps.results import Row

Spec = dict[str, Any]

TRAINING, VALIDATION, TEST = "#3b82f6", "#f97316", "#8b5cf6"
"""Told apart by everybody, on white and on black, and by their dashes besides."""
GOOD, BAD, QUIET = "#16a34a", "#dc2626", "#94a3b8"
SERIES = ("#3b82f6", "#f97316", "#10b981", "#a855f7", "#eab308", "#ec4899", "#06b6d4", "#84cc16")
_NAMES = {"train": "training", "validation": "validation", "test": "test"}
_HEIGHT = 260


def _base(values: Sequence[Mapping[str, Any]], *, height: int = _HEIGHT) -> Spec:
    return {
        "data": {"values": list(values)},
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "config": {"axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}},
    }


def curves(found: Curves, name: str, *, epochs: int) -> Spec:
    """Return training and validation ``name`` (loss or accuracy) over the epochs.

    Args:
        found: As `housetrain.report.plots.evaluation_plots.curve_table` makes it.
        name: ``"loss"`` or ``"accuracy"``.
        epochs: Planned, for the width of the axis.
    """
    values = [
        {"epoch": epoch, "value": value, "of": of}
        for of, series in (("training", getattr(found, name)), ("validation", getattr(found, f"val_{name}")))
        for epoch, value in zip(found.epochs, series, strict=True)
        if value is not None
    ]
    percent = name == "accuracy"
    last = max(epochs, found.epochs[-1] if found.epochs else 1, 2)
    x = {
        "field": "epoch",
        "type": "quantitative",
        "scale": {"domain": [1, last], "nice": False},
        "axis": {"title": "epoch", "tickMinStep": 1, "format": "d", "grid": False},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "scale": {"zero": False, "nice": True},
        "axis": {"title": None, "format": ".0%" if percent else "~g", "tickCount": 5},
    }
    color = {
        "field": "of",
        "type": "nominal",
        "scale": {"domain": ["training", "validation"], "range": [TRAINING, VALIDATION]},
        "legend": {"title": None, "orient": "top"},
    }
    tooltip = [
        {"field": "of", "title": "images"},
        {"field": "epoch"},
        {"field": "value", "title": name, "format": ".2%" if percent else ".4f"},
    ]
    layers: list[Spec] = []
    if found.overfitting is not None:
        band = {"values": [{"from": found.overfitting - 0.5, "to": found.epochs[-1], "words": "overfitting"}]}
        layers.append(
            {
                "data": band,
                "mark": {"type": "rect", "color": BAD, "opacity": 0.1},
                "encoding": {"x": {**x, "field": "from"}, "x2": {"field": "to"}},
            }
        )
    layers.append(
        {
            "mark": {"type": "line", "strokeWidth": 2.4, "point": {"size": 36}},
            "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip},
        }
    )
    if found.best is not None:
        layers.append(
            {
                "data": {"values": [{"epoch": found.best}]},
                "mark": {"type": "rule", "strokeDash": [4, 4], "color": QUIET},
                "encoding": {"x": x, "tooltip": [{"field": "epoch", "title": "best epoch, kept"}]},
            }
        )
    return {**_base(values), "layer": layers}


def class_counts(counts: Mapping[str, Mapping[str, int]]) -> Spec:
    """Return stacked bars: images of each class, by split or by use.

    Args:
        counts: Part -> class -> images.
    """
    colors = {"train": TRAINING, "validation": VALIDATION, "test": TEST, "usable": TRAINING, "left out": QUIET}
    parts = [part for part in counts if any(counts[part].values())]
    values = [
        {"class": label, "images": number, "part": _NAMES.get(part, part), "order": order}
        for order, part in enumerate(parts)
        for label, number in counts[part].items()
    ]
    names = [_NAMES.get(part, part) for part in parts]
    classes = max((len(per_class) for per_class in counts.values()), default=1)
    return {
        **_base(values, height=34 * classes + 120),
        "mark": {"type": "bar", "cornerRadius": 3},
        "encoding": {
            "y": {
                "field": "class",
                "type": "nominal",
                "axis": {"title": None, "labelLimit": 160},
                "sort": None,
                "scale": {"paddingInner": 0.3},
            },
            "x": {"field": "images", "type": "quantitative", "axis": {"title": "images", "tickCount": 5}},
            "color": {
                "field": "part",
                "type": "nominal",
                "scale": {"domain": names, "range": [colors.get(part, QUIET) for part in parts]},
                "legend": {"title": None, "orient": "top"},
            },
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": [{"field": "class"}, {"field": "part"}, {"field": "images", "format": ","}],
        },
    }


def probabilities(top: Sequence[tuple[str, float]]) -> Spec:
    """Return one bar a class: how probable it is that the image shows it."""
    values = [{"class": name, "probability": share, "best": index == 0} for index, (name, share) in enumerate(top)]
    y = {"field": "class", "type": "nominal", "sort": None, "axis": {"title": None, "labelLimit": 140}}
    return {
        **_base(values, height=34 * len(values) + 40),
        "layer": [
            {
                "mark": {"type": "bar", "cornerRadius": 4, "height": {"band": 0.62}},
                "encoding": {
                    "color": {
                        "condition": {"test": "datum.best", "value": TRAINING},
                        "value": QUIET,
                    }
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "color": QUIET},
                "encoding": {"text": {"field": "probability", "type": "quantitative", "format": ".1%"}},
            },
        ],
        "encoding": {
            "y": y,
            "x": {
                "field": "probability",
                "type": "quantitative",
                "scale": {"domain": [0, 1.18], "nice": False},
                "axis": {"title": None, "format": ".0%", "values": [0, 0.5, 1]},
            },
            "tooltip": [{"field": "class"}, {"field": "probability", "format": ".2%"}],
        },
    }


def confusion(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Spec:
    """Return the confusion matrix, a cell to click on: rows are what is true, columns what was said."""
    values = []
    for row, true in enumerate(classes):
        total = sum(counts[row]) or 1
        for column, said in enumerate(classes):
            number = counts[row][column]
            share = number / total
            kind = "right" if row == column else "wrong"
            values.append(
                {"true": true, "said": said, "images": number, "share": share, "kind": kind, "strong": share > 0.45}
            )
    many = len(classes) > 12
    text: Spec = {
        "mark": {"type": "text", "fontSize": 13 if len(classes) <= 6 else 11},
        "encoding": {
            "text": {"field": "images", "type": "quantitative", "format": ","},
            "color": {"condition": {"test": "datum.strong", "value": "#ffffff"}, "value": QUIET},
        },
    }
    cells: Spec = {
        "params": [{"name": "cell", "select": {"type": "point", "fields": ["true", "said"], "on": "click"}}],
        "mark": {"type": "rect", "cornerRadius": 4, "cursor": "pointer"},
        "encoding": {
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {"domain": ["right", "wrong"], "range": [TRAINING, VALIDATION]},
                "legend": None,
            },
            "opacity": {
                "field": "share",
                "type": "quantitative",
                "scale": {"domain": [0, 1], "range": [0.08, 1]},
                "legend": None,
            },
            "tooltip": [
                {"field": "true", "title": "is"},
                {"field": "said", "title": "was named"},
                {"field": "images", "format": ","},
                {"field": "share", "format": ".1%", "title": "share of its class"},
            ],
        },
    }
    order = list(classes)
    axis = {"labelLimit": 120, "domain": False, "ticks": False, "titlePadding": 10}
    return {
        **_base(values, height=min(640, max(240, 46 * len(classes) + 90))),
        "layer": [cells] if many else [cells, text],
        "encoding": {
            "y": {"field": "true", "type": "nominal", "sort": order, "axis": {**axis, "title": "what it is"}},
            "x": {
                "field": "said",
                "type": "nominal",
                "sort": order,
                "axis": {
                    **axis,
                    "title": "what the model said",
                    "orient": "top",
                    "labelAngle": 0 if len(classes) <= 4 else -45,
                },
            },
        },
    }


def calibration(bins: Sequence[CalibrationBin]) -> Spec:
    """Return how often the model was right against how sure it was."""
    values = [
        {"sure": one.confidence, "right": one.accuracy, "answers": one.count, "low": one.low, "high": one.high}
        for one in bins
        if one.count
    ]
    axis = {"format": ".0%", "tickCount": 5}
    x = {"type": "quantitative", "scale": {"domain": [0, 1], "nice": False}}
    return {
        **_base(values),
        "layer": [
            {
                "data": {"values": [{"sure": 0, "right": 0}, {"sure": 1, "right": 1}]},
                "mark": {"type": "line", "strokeDash": [4, 4], "color": QUIET},
                "encoding": {"x": {**x, "field": "sure"}, "y": {**x, "field": "right"}},
            },
            {
                "mark": {"type": "line", "color": TEST, "strokeWidth": 2},
                "encoding": {"x": {**x, "field": "sure"}, "y": {**x, "field": "right"}},
            },
            {
                "mark": {"type": "circle", "color": TEST, "opacity": 0.9},
                "encoding": {
                    "x": {**x, "field": "sure", "axis": {**axis, "title": "how sure the model was"}},
                    "y": {**x, "field": "right", "axis": {**axis, "title": "how often it was right"}},
                    "size": {
                        "field": "answers",
                        "type": "quantitative",
                        "scale": {"range": [30, 400]},
                        "legend": None,
                    },
                    "tooltip": [
                        {"field": "sure", "format": ".1%"},
                        {"field": "right", "format": ".1%"},
                        {"field": "answers", "format": ","},
                    ],
                },
            },
        ],
    }


def best_curves(found: Sequence[Curve]) -> Spec:
    """Return the validation losses of a few models over the epochs."""
    values = [
        {"epoch": epoch, "loss": loss, "model": curve.name}
        for curve in found
        for epoch, loss in enumerate(curve.losses, 1)
        if loss is not None
    ]
    names = [curve.name for curve in found]
    last = max((len(curve.losses) for curve in found), default=2)
    return {
        **_base(values, height=300),
        "mark": {"type": "line", "point": {"size": 30}, "strokeWidth": 2.2},
        "encoding": {
            "x": {
                "field": "epoch",
                "type": "quantitative",
                "scale": {"domain": [1, max(2, last)], "nice": False},
                "axis": {"title": "epoch", "tickMinStep": 1, "format": "d", "grid": False},
            },
            "y": {
                "field": "loss",
                "type": "quantitative",
                "scale": {"zero": False},
                "axis": {"title": "validation loss", "tickCount": 5},
            },
            "color": {
                "field": "model",
                "type": "nominal",
                "scale": {"domain": names, "range": list(SERIES[: len(names)])},
                "legend": {"title": None, "orient": "bottom", "columns": 2, "labelLimit": 260},
            },
            "tooltip": [{"field": "model"}, {"field": "epoch"}, {"field": "loss", "format": ".4f"}],
        },
    }


def effect(factor: Factor, *, low: float, high: float) -> Spec:
    """Return the losses of each level of a setting as dots, and their mean as a line."""
    values = [
        {"level": str(level), "loss": loss}
        for level, losses in zip(factor.levels, factor.losses, strict=True)
        for loss in losses
    ]
    order = [str(level) for level in factor.levels]
    y = {
        "field": "loss",
        "type": "quantitative",
        "scale": {"domain": [low, high], "zero": False},
        "axis": {"title": None, "tickCount": 4},
    }
    x = {
        "field": "level",
        "type": "nominal",
        "sort": order,
        "axis": {"title": factor.name.replace("_", " "), "labelAngle": 0, "labelLimit": 70},
    }
    return {
        **_base(values, height=210),
        "layer": [
            {
                "mark": {"type": "circle", "size": 40, "opacity": 0.45, "color": QUIET},
                "encoding": {"x": x, "y": y, "tooltip": [{"field": "loss", "format": ".4f"}]},
            },
            {
                "mark": {"type": "line", "color": TRAINING, "strokeWidth": 2.4, "point": {"size": 50}},
                "encoding": {
                    "x": x,
                    "y": {**y, "aggregate": "mean"},
                    "tooltip": [{"field": "loss", "aggregate": "mean", "format": ".4f", "title": "mean loss"}],
                },
            },
        ],
    }


def parallel(rows: Sequence[Row], found: Sequence[Factor]) -> Spec:
    """Return every ranked model as a thread through its settings to its validation loss."""
    scored = [row for row in rows if row.val_loss is not None]
    losses = [float(row.val_loss or 0.0) for row in scored]
    low, high = min(losses, default=0.0), max(losses, default=1.0)
    values, marks = [], []
    order = [factor.name.replace("_", " ") for factor in found] + ["validation loss"]
    for row in scored:
        kind = "best" if row.rank == 1 else "as good" if row.tied else "others"
        share = (float(row.val_loss or 0.0) - low) / ((high - low) or 1.0)
        common = {"model": row.name, "kind": kind, "val_loss": row.val_loss}
        for factor in found:
            place = factor.levels.index(row.settings[factor.name]) / max(1, len(factor.levels) - 1)
            values.append({**common, "setting": factor.name.replace("_", " "), "place": place})
        values.append({**common, "setting": "validation loss", "place": share})
    for factor in found:
        for number, level in enumerate(factor.levels):
            place = number / max(1, len(factor.levels) - 1)
            marks.append({"setting": factor.name.replace("_", " "), "place": place, "text": str(level)})
    marks += [{"setting": "validation loss", "place": at, "text": f"{one:.3f}"} for at, one in ((0, low), (1, high))]
    x = {
        "field": "setting",
        "type": "nominal",
        "sort": order,
        "axis": {"title": None, "labelAngle": 0, "orient": "top", "domain": False, "grid": True, "labelLimit": 110},
        "scale": {"type": "point", "padding": 0.35},
    }
    y = {"field": "place", "type": "quantitative", "axis": None, "scale": {"domain": [-0.04, 1.04]}}
    return {
        **_base(values, height=320),
        "layer": [
            {
                "mark": {"type": "line", "interpolate": "linear"},
                "encoding": {
                    "x": x,
                    "y": y,
                    "detail": {"field": "model"},
                    "color": {
                        "field": "kind",
                        "type": "nominal",
                        "scale": {"domain": ["best", "as good", "others"], "range": [VALIDATION, TRAINING, QUIET]},
                        "legend": {"title": None, "orient": "bottom"},
                    },
                    "opacity": {"condition": {"test": "datum.kind == 'others'", "value": 0.35}, "value": 1},
                    "size": {"condition": {"test": "datum.kind == 'best'", "value": 3}, "value": 1.4},
                    "tooltip": [{"field": "model"}, {"field": "val_loss", "format": ".4f"}],
                },
            },
            {
                "data": {"values": marks},
                "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 12, "color": QUIET, "dy": -7},
                "encoding": {"x": x, "y": y, "text": {"field": "text"}},
            },
        ],
    }
