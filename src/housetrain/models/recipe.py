"""Recipe: everything that decides how one model is made, as one flat frozen value.

In: a preset's name and the settings that differ from it (from flags, a file, the web form).
Out: a checked `Recipe`, or one `RecipeError` that names every problem at once.
Does not know: Keras, the images, the folder, the machine. `shapes.py` says whether a recipe fits an image size;
`models.py` builds the net; `loop.py` and `session.py` train it.

    Recipe.of("cnn", conv=3, nodes=64, dense=0).name        # "3-conv-64-nodes-0-dense"
    Recipe.of("best", epochs=30, flip="none")               # digits and letters must not be mirrored
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from housetrain.errors import RecipeError
from housetrain.models.backbones import BACKBONES, IMAGENET, NONE


class Preset(NamedTuple):
    """What a model's name stands for.

    Args:
        about: One line for help texts.
        image_size: Side of the square image in pixels that the model is meant for.
        color_mode: ``"grayscale"`` or ``"rgb"``.
        settings: Recipe fields that differ from the field defaults.
        uses: Which of ``conv``, ``nodes``, ``dense`` and ``progressive`` the net listens to.
    """

    about: str
    image_size: int
    color_mode: Literal["grayscale", "rgb"]
    settings: Mapping[str, Any]
    uses: tuple[str, ...] = ()


PRESETS: dict[str, Preset] = {
    "mlp": Preset("Flatten, two Dense of 128: the MNIST quickstart", 28, "grayscale", {"epochs": 3}),
    "cnn": Preset(
        "conv x (3x3, ReLU, 2x2 max-pool), then dense x nodes: the tutorials' grid",
        50,
        "grayscale",
        {"epochs": 10},
        uses=("conv", "nodes", "dense"),
    ),
    "deep": Preset(
        "64-128-256 same-padded convolutions with pools, Dense 128, dropout, Dense 64",
        256,
        "grayscale",
        {"epochs": 20, "dropout": 0.5, "patience": 5},
    ),
    "best": Preset(
        "a small residual net with batch norm and augmentation, trained from nothing",
        96,
        "rgb",
        {
            "epochs": 40,
            "batch_size": 64,
            "optimizer": "muon",
            "learning_rate": 3e-3,
            "schedule": "cosine",
            "warmup_epochs": 6.0,
            "weight_decay": 0.1,
            "label_smoothing": 0.1,
            "dropout": 0.2,
            "flip": "horizontal",
            "zoom": 0.5,
            "stretch": 0.1,
            "rotate": 0.04,
            "contrast": 0.25,
            "erase": 0.3,
            "progressive": 0.65,
        },
        uses=("progressive",),
    ),
    **{
        name: Preset(
            backbone.about,
            backbone.image_size,
            "rgb",
            {
                "weights": IMAGENET,
                "epochs": 20,
                "patience": 5,
                "flip": "horizontal",
                "zoom": 0.2,
                "rotate": 0.03,
                "contrast": 0.2,
            },
            uses=("weights", "head", "views", "unfreeze"),
        )
        for name, backbone in BACKBONES.items()
    },
}
"""Model name -> what it stands for. `models.register` adds to it; `Recipe` refuses names that are not here."""


class Recipe(BaseModel):
    """How one model is made: net, optimizer, augmentation, limits. Frozen, flat and JSON-plain.

    Fields that are not given take the values of the preset that ``model`` names, so ``Recipe(model="cnn")``,
    ``Recipe.of("cnn")`` and a file holding ``{"model": "cnn"}`` are the same recipe, and ``Recipe()`` is the best one.

    Raises:
        RecipeError: One error for all problems: unknown settings (with the nearest name), wrong types, values out of
            range, settings that contradict each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    model: str = Field(
        "best",
        description=f"The net: mlp, cnn, deep, best, {', '.join(BACKBONES)}, or a name given to models.register.",
    )
    weights: str = Field(
        NONE,
        min_length=1,
        description="Pretrained nets only: imagenet (downloaded by Keras), a weights file, or none: all from nothing.",
    )
    head: Literal["logistic", "dense"] = Field(
        "logistic",
        description="On frozen features. logistic: logistic regression, its regularization chosen by validation loss; "
        "dense: a Dense layer with dropout and label smoothing, trained by epochs.",
    )
    views: int = Field(
        0,
        ge=0,
        le=1000,
        description="On frozen features: so many augmented views of each training image besides the image itself.",
    )
    unfreeze: int = Field(
        0, ge=0, description="Pretrained nets only: train this many of the net's last layers as well (fine-tuning)."
    )
    conv: int = Field(3, ge=1, le=12, description="cnn only: how many 3x3 convolutions, each with ReLU and 2x2 pool.")
    nodes: int = Field(64, ge=1, le=4096, description="cnn only: filters a convolution, and units a dense layer.")
    dense: int = Field(0, ge=0, le=8, description="cnn only: how many dense layers between Flatten and the output.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of units silenced before the output while training.")

    image_size: int | None = Field(
        None, ge=4, le=2048, description="Side of the square image, pixels. Empty: the preset's."
    )
    color_mode: Literal["grayscale", "rgb"] | None = Field(None, description="Color of the input. Empty: the preset's.")
    resize: Literal["stretch", "pad", "crop"] = Field("stretch", description="How an image is made square.")
    balance: Literal["weights", "trim", "none"] = Field(
        "weights", description="Uneven classes: weigh the loss, trim to the smallest class, or leave as they are."
    )

    flip: Literal["none", "horizontal", "both"] = Field(
        "none", description="Mirror at random while training. Not for digits, letters or anything with a reading side."
    )
    shift: float = Field(0.0, ge=0, le=1, description="Largest random shift, as a share of the image's side.")
    rotate: float = Field(0.0, ge=0, le=1, description="Largest random turn either way, as a share of a full turn.")
    zoom: float = Field(
        0.0, ge=0, lt=1, description="Largest random zoom in: 0.4 shows a window of 0.6 to 1 of the side."
    )
    stretch: float = Field(0.0, ge=0, le=0.5, description="Largest random change of width against height, as a share.")
    contrast: float = Field(
        0.0, ge=0, le=1, description="Largest random change of contrast and brightness, as a share."
    )
    erase: float = Field(0.0, ge=0, le=1, description="Share of the training images in which a box is painted over.")
    progressive: float = Field(
        1.0,
        ge=0.5,
        le=1,
        description="best only: training begins with images of this share of their side, and ends with all of it.",
    )

    epochs: int = Field(10, ge=1, le=100_000, description="Passes over the training images.")
    batch_size: int = Field(32, ge=1, le=65_536, description="Images in one step of the optimizer.")
    optimizer: Literal["adam", "adamw", "muon", "sgd"] = Field(
        "adam",
        description="adam, adamw (with weight decay), muon (for kernels; adam for the rest), sgd (Nesterov 0.9).",
    )
    learning_rate: float = Field(1e-3, gt=0, le=100, description="Peak learning rate.")
    schedule: Literal["constant", "cosine", "one-cycle"] = Field(
        "constant", description="How the learning rate goes on after the warm-up: flat, half a cosine, up and down."
    )
    warmup_epochs: float = Field(0.0, ge=0, description="Epochs, or a part of one, of linear rise to the peak rate.")
    weight_decay: float = Field(0.0, ge=0, le=10, description="Decoupled weight decay of kernels (adamw, muon, sgd).")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target spread over all classes.")
    ema: float = Field(0.0, ge=0, lt=1, description="Momentum of a moving average of the weights; 0: none.")
    patience: int = Field(0, ge=0, description="Stop after so many epochs without a better validation loss; 0: never.")
    time_limit_s: float | None = Field(
        None, gt=0, description="Stop after so many seconds; the running epoch is cut short."
    )

    seed: int = Field(0, ge=0, lt=2**31, description="Seed of weights, order, augmentation and dropout.")
    deterministic: bool = Field(False, description="Bit-equal results on the same machine, at some cost of speed.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Compute type; weights and loss stay float32. auto: bfloat16 where the machine is made for it.",
    )

    def __init__(self, **settings: Any) -> None:
        filled = {**_preset_settings(settings.get("model", "best"), settings.get("epochs")), **settings}
        problems: dict[str, str] = {}
        try:
            super().__init__(**filled)
        except ValidationError as error:
            problems = _problems_in(error)
        values = {name: field.default for name, field in type(self).model_fields.items()} | filled
        problems |= _contradictions({name: value for name, value in values.items() if name not in problems})
        if problems:
            raise _recipe_error(problems)

    @classmethod
    def of(cls, model: str = "best", **overrides: Any) -> Recipe:
        """Return the preset ``model`` with ``overrides``.

        Args:
            model: A name in `PRESETS`.
            **overrides: Recipe fields that differ from the preset.

        Raises:
            RecipeError: Naming every problem at once.
        """
        return cls(model=model, **overrides)

    def but(self, **changes: Any) -> Recipe:
        """Return this recipe with ``changes``, checked anew (pydantic's ``model_copy`` does not check).

        Changing ``model`` keeps the other settings; use `Recipe.of` for another preset.
        """
        return Recipe(**(self.model_dump() | changes))

    @property
    def name(self) -> str:
        """The name of a run of this recipe: ``"3-conv-64-nodes-0-dense"`` for a cnn, else the model's name."""
        if self.model == "cnn":
            return f"{self.conv}-conv-{self.nodes}-nodes-{self.dense}-dense"
        return self.model

    @property
    def fingerprint(self) -> str:
        """16 hex digits that are equal exactly when all settings are equal."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def prepare_options(self) -> dict[str, Any]:
        """``image_size``, ``color_mode`` and ``resize`` to prepare images with; the preset's where open."""
        preset = PRESETS[self.model]
        return {
            "image_size": self.image_size or preset.image_size,
            "color_mode": self.color_mode or preset.color_mode,
            "resize": self.resize,
        }

    @property
    def pretrained(self) -> bool:
        """Whether the net starts from weights that were trained before, on other images."""
        return self.model in BACKBONES and self.weights != NONE

    @property
    def frozen(self) -> bool:
        """Whether only the head is trained: the net's features are computed once and kept."""
        return self.pretrained and not self.unfreeze

    @property
    def augments(self) -> bool:
        """Whether images are changed at random while training."""
        return self.flip != "none" or any((self.shift, self.rotate, self.zoom, self.stretch, self.contrast, self.erase))

    def side(self, epoch: int, full: int) -> int:
        """Return the side of the images that an epoch trains on: progressive resizing.

        Half of the epochs use the smallest images, a quarter the mean of both, the last quarter the full size (after
        Howard 2018, https://www.fast.ai/posts/2018-04-30-dawnbench-fastai.html).

        Args:
            epoch: From 0.
            full: Side of the prepared images, pixels.

        Returns:
            Pixels, a multiple of 8 where it is not ``full``.
        """
        done = epoch / self.epochs
        share = self.progressive if done < 0.5 else (1 + self.progressive) / 2 if done < 0.75 else 1.0
        return full if share == 1 else min(full, max(16, 8 * round(full * share / 8)))

    @property
    def differences(self) -> dict[str, Any]:
        """Settings that differ from the preset of this model, for a short label."""
        preset = Recipe.of(self.model).model_dump()
        return {name: value for name, value in self.model_dump().items() if value != preset[name]}

    def to_json(self) -> dict[str, Any]:
        """Return all settings as a JSON-plain dict."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        """Return the recipe that `to_json` wrote; missing settings take the preset's values.

        Raises:
            RecipeError: ``value`` is not a mapping, or holds problems.
        """
        if not isinstance(value, Mapping):
            raise RecipeError("A recipe is not a set of names and values", expected="an object", value=value)
        return cls(**value)


def _preset_settings(model: object, epochs: object) -> dict[str, Any]:
    """Return what the preset fills in. Its warm-up keeps its share of the training when the epochs are others."""
    settings = dict(PRESETS[model].settings) if isinstance(model, str) and model in PRESETS else {}
    if "warmup_epochs" in settings and isinstance(epochs, int | float | str):
        with contextlib.suppress(ValueError):  # pydantic says what is wrong with such epochs
            settings["warmup_epochs"] = round(settings["warmup_epochs"] * float(epochs) / settings["epochs"], 3)
    return settings


def _problems_in(error: ValidationError) -> dict[str, str]:
    """Return field -> one phrase, with the nearest name for an unknown field."""
    problems: dict[str, str] = {}
    for item in error.errors(include_url=False):
        name = str(item["loc"][0]) if item["loc"] else "recipe"
        if item["type"] == "extra_forbidden":
            problems[name] = f"unknown setting{_nearest(name, Recipe.model_fields)}"
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            problems.setdefault(name, f"{message}, not {item['input']!r}")
    return problems


def _contradictions(values: Mapping[str, Any]) -> dict[str, str]:
    """Return problems between settings that are each valid alone. Settings already known as wrong are absent."""
    problems: dict[str, str] = {}
    model = values.get("model")
    if isinstance(model, str) and model not in PRESETS:
        problems["model"] = (
            f"no model named {model!r}{_nearest(model, PRESETS)}; there are {', '.join(sorted(PRESETS))}"
        )
    elif isinstance(model, str):
        for name in ("conv", "nodes", "dense", "progressive"):
            default = Recipe.model_fields[name].default
            if name in values and name not in PRESETS[model].uses and _number(values[name]) != default:
                problems[name] = f"the model {model!r} does not use it"
    if isinstance(model, str) and model in PRESETS:
        problems |= _transfer_contradictions(model, values)
    if values.get("optimizer") == "adam" and _number(values.get("weight_decay")) > 0:
        problems["weight_decay"] = "adam has no weight decay; use optimizer adamw"
    if {"warmup_epochs", "epochs"} <= values.keys() and _number(values["warmup_epochs"]) >= _number(values["epochs"]):
        problems["warmup_epochs"] = f"must be less than epochs ({values['epochs']})"
    return problems


def _transfer_contradictions(model: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return what was asked of pretrained weights where there are none."""
    names: tuple[str, ...] = ("head", "views", "unfreeze")
    if model not in BACKBONES:
        why = f"the model {model!r} has no pretrained weights; those that do are {', '.join(BACKBONES)}"
        names = ("weights", *names)
    elif values.get("weights", NONE) == NONE:
        why = "with weights none everything is trained from nothing"
    else:
        return {}
    defaults = {name: Recipe.model_fields[name].default for name in names}
    return {name: why for name, default in defaults.items() if str(values.get(name, default)) != str(default)}


def _number(value: Any) -> float:
    # Flags arrive as text; pydantic has already refused what is not a number.
    return float(value) if value not in (None, "") else math.nan


def _nearest(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), list(names), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def _recipe_error(problems: Mapping[str, str]) -> RecipeError:
    listed = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    error = RecipeError(f"The recipe has {count}: {listed}")
    for name, problem in problems.items():
        error.add_note(f"{name}: {problem}")  # one by one for a grid, which tells each problem once
    return error
