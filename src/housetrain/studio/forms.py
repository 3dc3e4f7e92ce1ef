"""The training form: its inputs become a `Recipe`.

In: inputs, and the prepared images to train on. Out: a validated `Recipe`, or an error. A field that the form does not
show keeps the preset's value; a test compares the form with `Recipe`, so that no field is forgotten.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args, get_origin

import streamlit as st

from housetrain.models.backbones import ENCODER
from housetrain.models.nets import PRESETS, unused_settings
from housetrain.models.recipe import Recipe
from housetrain.studio import widgets
from housetrain.studio.shelf import Arrays
from housetrain.studio.widgets import readable


class Field(NamedTuple):
    """Label and help text of one setting."""

    label: str
    help: str


FIELDS: dict[str, Field] = {
    "model": Field(
        "Model", "Model preset. “best” is the most accurate from scratch; “cnn” is the classic CNN of the tutorials."
    ),
    "conv": Field(
        "Conv layers", "Convolution layers, each followed by 2x2 max pooling, which halves height and width."
    ),
    "nodes": Field("Nodes", "Filters per convolution layer and units per dense layer: the width of the network."),
    "dense": Field("Dense layers", "Fully connected layers before the output layer."),
    "epochs": Field("Epochs", "Passes over all training images. Too few underfit; too many overfit."),
    "batch_size": Field("Batch size", "Images per weight update. 32 is a good default."),
    "learning_rate": Field("Learning rate", "Step size of the optimizer. Too large diverges; too small trains slowly."),
    "time_limit_s": Field("Time limit, minutes", "Stop after this long and keep the best epoch; 0 for no limit."),
    "patience": Field("Patience", "Early stopping: epochs in a row without a lower validation loss; 0 disables it."),
    "flip": Field("Flip", "Random mirroring. Not for digits, letters or anything where left and right differ."),
    "shift": Field("Shift", "Random translation by up to this fraction of the image size."),
    "rotate": Field(
        "Rotate", "Random rotation by up to this fraction of a full turn, in both directions: 0.05 is 18°."
    ),
    "zoom": Field("Zoom", "Random crops: 0.4 crops to 60 % to 100 % of the image size."),
    "stretch": Field("Stretch", "Random change of the aspect ratio by up to this fraction."),
    "erase": Field("Erase", "Random erasing: fraction of the images with a rectangle painted over."),
    "contrast": Field("Contrast", "Random change of contrast and brightness by up to this fraction."),
    "dropout": Field("Dropout", "Fraction of activations set to zero at random during training; reduces overfitting."),
    "label_smoothing": Field(
        "Label smoothing", "Fraction of the target probability spread over all classes; reduces overconfidence."
    ),
    "weight_decay": Field("Weight decay", "Decay of the weights towards zero. Not available with the optimizer adam."),
    "ema": Field(
        "Weight averaging", "Decay of an exponential moving average (EMA) of the weights, such as 0.99; 0 disables it."
    ),
    "optimizer": Field("Optimizer", "Update rule of the weights. adam works well in most cases."),
    "schedule": Field("Schedule", "Learning rate schedule: constant, or decaying to zero."),
    "warmup_epochs": Field("Warm-up epochs", "Epochs over which the learning rate rises to its full value."),
    "seed": Field("Seed", "Random seed of initial weights, batch order and augmentation."),
    "deterministic": Field("Deterministic", "Bit-identical results on the same machine; slightly slower."),
    "precision": Field("Precision", "auto uses bfloat16 where the processor supports it natively, else float32."),
}
DECIDED = {"image_size", "color_mode", "resize", "balance"}
"""Fields that were fixed when the images were prepared."""
_BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
_PREFIX = "recipe-"


def choose_arrays(arrays: list[Arrays]) -> Arrays:
    """Draw the selection of prepared images."""
    names = {one.name: one for one in arrays}
    arrived = st.session_state.pop("choose-arrays", None)
    if arrived in names:
        st.session_state["prepared"] = arrived
    elif st.session_state.get("prepared") not in names:
        st.session_state.pop("prepared", None)
    name = st.selectbox(
        "Prepared images",
        list(names),
        key="prepared",
        bind="query-params",
        format_func=readable,
        help="Created on the Data page, or by `housetrain prepare`.",
    )
    chosen = names.get(name) or arrays[0]
    total = [f"{chosen.total(split):,}" for split in ("train", "validation", "test")]
    spec = chosen.spec
    st.caption(
        f"{total[0]} training, {total[1]} validation and {total[2]} test images of {len(chosen.classes):,} classes, "
        f"{spec.height} × {spec.width} pixels, {'grayscale' if spec.channels == 1 else 'RGB'}."
    )
    return chosen


def recipe(arrays: Arrays) -> Recipe | None:
    """Draw the form and return the recipe, or show why it is invalid and return ``None``."""
    widgets.section("Settings")
    names = [name for name in PRESETS if name != ENCODER]  # needs a file
    model = st.selectbox(
        FIELDS["model"].label,
        names,
        index=names.index("cnn"),
        key=f"{_PREFIX}model",
        persist_state="session",
        help=FIELDS["model"].help,
    )
    preset = PRESETS[model]
    st.caption(f"{preset.about[:1].upper()}{preset.about[1:]}.")
    if (preset.image_size, preset.color_mode) != (arrays.spec.height, arrays.spec.color_mode):
        st.caption(
            f"Designed for {preset.image_size} × {preset.image_size} pixels, "
            f"{'grayscale' if preset.color_mode == 'grayscale' else 'RGB'}; other inputs work, too."
        )
    base = Recipe.of(model)
    found: dict[str, Any] = {}
    grid: list[str] = [name for name in ("conv", "nodes", "dense") if name in preset.uses]
    if grid:
        found |= _grid(base, model, grid)
    found |= _basics(base, model)
    with st.expander("Data augmentation: random variations of the training images", icon=":material/auto_awesome:"):
        found |= _augmentation(base, model)
    with st.expander("More settings", icon=":material/tune:"):
        found |= _more(base, model)
    with widgets.in_one_sentence():
        return Recipe.of(model, **found)
    return None


def _key(model: str, name: str) -> dict[str, Any]:
    """Each model has its own widgets, so that another preset shows its own values."""
    return {"key": f"{_PREFIX}{model}-{name}", "persist_state": "session", "help": FIELDS[name].help}


def _grid(base: Recipe, model: str, uses: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    places = st.columns(len(uses))
    for place, name in zip(places, uses, strict=True):
        with place:
            if name == "nodes":
                found[name] = st.number_input(FIELDS[name].label, 1, 4096, base.nodes, 16, **_key(model, name))
            else:
                low, high = (1, 12) if name == "conv" else (0, 8)
                found[name] = st.number_input(FIELDS[name].label, low, high, getattr(base, name), **_key(model, name))
    return found


def _basics(base: Recipe, model: str) -> dict[str, Any]:
    one, two = st.columns(2)
    with one:
        epochs = st.number_input(FIELDS["epochs"].label, 1, 100_000, base.epochs, **_key(model, "epochs"))
        rate = st.number_input(
            FIELDS["learning_rate"].label,
            1e-7,
            100.0,
            base.learning_rate,
            step=base.learning_rate / 10,
            format="%.6g",
            **_key(model, "learning_rate"),
        )
    with two:
        batch = st.selectbox(
            FIELDS["batch_size"].label, _BATCHES, _BATCHES.index(base.batch_size), **_key(model, "batch_size")
        )
        minutes = st.number_input(
            FIELDS["time_limit_s"].label, 0.0, 10_000.0, 0.0, step=1.0, format="%g", **_key(model, "time_limit_s")
        )
    found = {"epochs": int(epochs), "learning_rate": float(rate), "batch_size": int(batch)}
    return {**found, "time_limit_s": float(minutes) * 60 or None}


def _augmentation(base: Recipe, model: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    flips = ["none", "horizontal", "both"]
    words = {"none": "none", "horizontal": "horizontal", "both": "horizontal and vertical"}
    found["flip"] = st.selectbox(
        FIELDS["flip"].label, flips, flips.index(base.flip), format_func=words.__getitem__, **_key(model, "flip")
    )
    places = st.columns(2)
    for number, (name, most) in enumerate(
        (("shift", 0.5), ("rotate", 0.5), ("zoom", 0.9), ("stretch", 0.5), ("contrast", 1.0), ("erase", 1.0))
    ):
        with places[number % 2]:
            found[name] = float(
                st.slider(FIELDS[name].label, 0.0, most, float(getattr(base, name)), 0.01, **_key(model, name))
            )
    return found


def _more(base: Recipe, model: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    one, two = st.columns(2)
    choices = {
        "optimizer": ["adam", "adamw", "muon", "rmsprop", "sgd"],
        "schedule": ["constant", "cosine", "one-cycle"],
        "precision": ["auto", "float32", "bfloat16"],
    }
    with one:
        for name in ("optimizer", "schedule"):
            listed = choices[name]
            found[name] = st.selectbox(
                FIELDS[name].label, listed, listed.index(getattr(base, name)), **_key(model, name)
            )
        found["warmup_epochs"] = st.number_input(
            FIELDS["warmup_epochs"].label,
            0.0,
            1000.0,
            float(base.warmup_epochs),
            format="%g",
            **_key(model, "warmup_epochs"),
        )
        found["weight_decay"] = st.number_input(
            FIELDS["weight_decay"].label,
            0.0,
            10.0,
            float(base.weight_decay),
            0.01,
            format="%g",
            **_key(model, "weight_decay"),
        )
        found["patience"] = int(
            st.number_input(FIELDS["patience"].label, 0, 1000, base.patience, **_key(model, "patience"))
        )
    with two:
        listed = choices["precision"]
        found["precision"] = st.selectbox(
            FIELDS["precision"].label, listed, listed.index(base.precision), **_key(model, "precision")
        )
        for name, most in (("dropout", 0.95), ("label_smoothing", 0.95), ("ema", 0.9999)):
            found[name] = float(
                st.number_input(
                    FIELDS[name].label, 0.0, most, float(getattr(base, name)), 0.05, format="%g", **_key(model, name)
                )
            )
        found["seed"] = int(st.number_input(FIELDS["seed"].label, 0, 2**31 - 1, base.seed, **_key(model, "seed")))
    for name in (one for one in Recipe.model_fields if one not in {*FIELDS, *DECIDED, *unused_settings(model)}):
        found[name] = _other(name, getattr(base, name), model)
    found["deterministic"] = st.toggle(
        FIELDS["deterministic"].label, base.deterministic, **_key(model, "deterministic")
    )
    return found


def _other(name: str, value: Any, model: str) -> Any:
    """Draw a setting without an entry in `FIELDS`, from its description in `Recipe`."""
    field = Recipe.model_fields[name]
    label = name.replace("_", " ").capitalize()
    options: dict[str, Any] = {
        "key": f"{_PREFIX}{model}-{name}",
        "persist_state": "session",
        "help": field.description,
    }
    choices = list(get_args(field.annotation)) if get_origin(field.annotation) is Literal else []
    if choices:
        return st.selectbox(label, choices, choices.index(value), **options)
    if isinstance(value, bool):
        return st.toggle(label, value, **options)
    if isinstance(value, int):
        return int(st.number_input(label, value=value, step=1, **options))
    if isinstance(value, float):
        return float(st.number_input(label, value=value, step=0.05, format="%g", **options))
    if isinstance(value, str):
        return st.text_input(label, value, **options).strip() or value
    return value  # no suitable widget: keep the preset's value
