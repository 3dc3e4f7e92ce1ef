"""Which settings of a recipe a model does not use, and which contradict each other.

In: the values of a recipe's fields. Out: field -> one phrase. Does not know: the types and ranges of single fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any

from housetrain.models.backbones import BACKBONES, ENCODER, NONE
from housetrain.models.nets import PRESETS, unused_settings
from housetrain.models.setting_names import meant

_TRANSFER = ("head", "views", "test_time_flips", "unfreeze")
_BY_EPOCHS = (
    "epochs", "batch_size", "optimizer", "learning_rate", "schedule", "warmup_epochs", "weight_decay", "ema",
    "patience", "dropout",
)  # fmt: skip


def unused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that a recipe of these values does not use, and why.

    This is the one place that decides it. Such a setting is left out of `to_json`. Giving one that belongs to another
    model is an error; giving one that another setting makes useless is an error unless it repeats the preset's value.

    Args:
        values: Of all fields, as given; those that are invalid may be absent.
    """
    model = values.get("model")
    if not isinstance(model, str) or model not in PRESETS:
        return {}
    found = dict.fromkeys(sorted(unused_settings(model)), f"the model {model!r} does not use it")
    scratch = values.get("weights", NONE) == NONE
    if "weights" in found:
        why = f"the model {model!r} has no pretrained weights; those that do are {', '.join(BACKBONES)}"
        found |= dict.fromkeys(found.keys() & {"weights", *_TRANSFER}, why)
        if scratch:
            del found["weights"]  # any model may be asked to train from scratch
    elif scratch:
        found |= dict.fromkeys(_TRANSFER, "with weights none the whole model is trained from scratch")
    return found


def _has_logistic_head(values: Mapping[str, Any]) -> bool:
    frozen = values.get("weights", NONE) != NONE and not _number(values.get("unfreeze", 0))
    logistic = frozen and values.get("head") == "logistic"
    return values.get("model") == ENCODER or (values.get("model") in BACKBONES and logistic)


def contradictions(values: Mapping[str, Any], presets: Mapping[str, Any], *, given: Set[str]) -> dict[str, str]:
    """Return the problems of settings that are each valid alone.

    Args:
        values: Of all fields but those already known as wrong.
        presets: The values of the same model where nothing is given.
        given: Names of the settings that were given, rather than filled in.
    """
    problems: dict[str, str] = {}
    model = values.get("model")
    if isinstance(model, str) and model not in PRESETS:
        known = ", ".join(sorted(PRESETS))
        problems["model"] = f"no model named {model!r}{nearest(model, PRESETS)}; there are {known}"
    for name, why in unused(values).items():
        other_models_setting = isinstance(model, str) and name in unused_settings(model)
        if name in given and (other_models_setting or str(values[name]) != str(presets[name])):
            problems[name] = why
    if _has_logistic_head(values):
        why = "the logistic head is not trained by epochs"
        why += "" if model == ENCODER else "; set head=dense, or unfreeze=30 to fine-tune"
        problems |= {name: why for name in _BY_EPOCHS if name in given and str(values[name]) != str(presets[name])}
    if values.get("test_time_flips") not in (None, "none") and _number(values.get("views")) > 0:
        problems["views"] = "with test_time_flips each training image has one row of features; use views=0"
    if model == ENCODER and values.get("color_mode") == "grayscale":
        problems["color_mode"] = "an encoder takes RGB images"
    if values.get("optimizer") == "adam" and _number(values.get("weight_decay")) > 0:
        problems["weight_decay"] = "adam has no weight decay; use optimizer adamw"
    if {"warmup_epochs", "epochs"} <= values.keys() and _number(values["warmup_epochs"]) >= _number(values["epochs"]):
        problems["warmup_epochs"] = f"must be less than epochs ({values['epochs']})"
    return problems


def _number(value: Any) -> float:
    # Flags arrive as text. pydantic has already refused what is not a number.
    return float(value) if value not in (None, "") else math.nan


def nearest(name: str, names: Any) -> str:
    """Return which of ``names`` was probably meant, as words in parentheses; ``""`` where none is near."""
    near = meant(name, names)
    return f" (did you mean {near}?)" if near else ""
