"""The names of settings: what each means, and what other tools call it.

In: the fields of `Recipe`, a name that is none. Out: a table of all settings; the setting that was meant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args, get_origin

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_ELSEWHERE = {
    "image_size": "imgsz img_size img_dim image_dim input_size target_size resolution size",
    "color_mode": "color channels grayscale greyscale mode",
    "learning_rate": "lr lr0 initial_lr max_lr base_lr init_lr eta",
    "epochs": "epoch num_epochs n_epochs max_epochs num_train_epochs nb_epoch",
    "batch_size": "batch bs batchsize per_device_train_batch_size",
    "seed": "random_state random_seed rng rng_seed",
    "dropout": "dropout_rate drop_rate drop p_drop",
    "optimizer": "opt optim",
    "schedule": "scheduler lr_scheduler lr_scheduler_type lr_schedule cos_lr",
    "warmup_epochs": "warmup warmup_steps",
    "weight_decay": "wd decay l2 regularization",
    "label_smoothing": "smoothing",
    "ema": "ema_decay swa",
    "patience": "early_stopping early_stop early_stopping_patience",
    "time_limit_s": "time_limit timeout max_time time",
    "model": "arch architecture backbone net network",
    "weights": "pretrained checkpoint",
    "unfreeze": "fine_tune fine_tune_at trainable_layers trainable",
    "conv": "conv_layers num_conv convolutions layers num_layers",
    "nodes": "filters units hidden hidden_units hidden_size neurons width",
    "dense": "dense_layers num_dense fc",
    "kernel_size": "kernel ksize",
    "activation": "act act_fn",
    "balance": "class_weight class_weights imbalance",
    "flip": "hflip vflip fliplr flipud horizontal_flip vertical_flip random_flip",
    "shift": "translate width_shift_range height_shift_range",
    "rotate": "rotation rotation_range degrees random_rotation",
    "zoom": "zoom_range scale random_zoom",
    "contrast": "brightness brightness_range random_contrast color_jitter",
    "erase": "random_erasing cutout erasing reprob",
    "precision": "dtype amp half mixed_precision fp16 bf16",
}
OTHER_NAMES = {other: name for name, others in _ELSEWHERE.items() for other in others.split()}
"""What Keras, PyTorch, scikit-learn, timm, YOLO and others call a setting -> its name here."""


class Setting(NamedTuple):
    """A setting as it is listed: its type with the values it takes, its default, and its meaning in a line."""

    name: str
    type: str
    default: str
    meaning: str


def meant(name: str, names: Iterable[str]) -> str:
    """Return the one of ``names`` that was probably meant, or an empty string.

    Args:
        name: As it was typed.
        names: What there is.
    """
    plain, known = name.lower().replace("-", "_"), list(names)
    if OTHER_NAMES.get(plain) in known:
        return OTHER_NAMES[plain]
    return next(iter(difflib.get_close_matches(plain, known, n=1, cutoff=0.6)), "")


_PROBLEMS = (
    (r"input should be greater than or equal to (.+)", r"must be at least \1"),
    (r"input should be less than or equal to (.+)", r"must be at most \1"),
    (r"input should be greater than (.+)", r"must be more than \1"),
    (r"input should be less than (.+)", r"must be less than \1"),
    (r"input should be a valid integer.*", "must be a whole number"),
    (r"input should be a valid number.*", "must be a number"),
    (r"input should be a finite number", "must be a finite number"),
    (r"input should be a valid boolean.*", "must be true or false"),
    (r"input should be a valid string", "must be text"),
    (r"input should be (.+)", r"must be \1"),
    (r"value error, (.+)", r"\1"),
)


def problem_text(message: str, value: object = None) -> str:
    """Return what is wrong with a value: pydantic's message as a phrase, with the value.

    Args:
        message: Such as ``Input should be greater than or equal to 1``.
        value: What was given; ``None`` if that is not known.
    """
    text = message[:1].lower() + message[1:]
    for pattern, phrase in _PROBLEMS:
        if match := re.fullmatch(pattern, text):
            text = match.expand(phrase)
            break
    return text if value is None else f"{text}, not {value!r}"


def settings() -> list[Setting]:
    """Return every setting of a recipe. A preset may have another default."""
    from housetrain.models.recipe import Recipe

    found = []
    for name, field in Recipe.model_fields.items():
        default = "preset's" if field.default is None else str(field.default)
        found.append(Setting(name, _type(field), default, field.description or ""))
    return found


def choices(name: str) -> list[str]:
    """Return the words that a setting takes; none where it takes numbers or any text."""
    from housetrain.models.recipe import Recipe

    field = Recipe.model_fields.get(name)
    return [] if field is None else [word for kind in _kinds(field) for word in _words(kind)]


def _kinds(field: FieldInfo) -> list[object]:
    kind = field.annotation
    return [kind] if get_origin(kind) is Literal or not get_args(kind) else list(get_args(kind))


def _words(kind: object) -> list[str]:
    if kind is bool:
        return ["true", "false"]
    return [str(word) for word in get_args(kind)] if get_origin(kind) is Literal else []


def _type(field: FieldInfo) -> str:
    kind = _kinds(field)[0]
    limits = {key: getattr(one, key) for one in field.metadata for key in ("ge", "gt", "le", "lt") if hasattr(one, key)}
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    plain = {int: "whole number", float: "number", str: "text"}
    shown = "|".join(_words(kind)) or plain.get(kind, str(kind))  # type: ignore[call-overload]
    return " ".join([shown, *(f"{signs[key]}{value:,}" for key, value in limits.items())])
