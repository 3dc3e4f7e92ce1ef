"""Recipe: everything that decides how one model is made, as one flat frozen value.

In: a preset's name and the settings that differ from it (from flags, a file, the web form).
Out: a checked `Recipe`, or one `RecipeError` that names every problem at once.
Does not know: Keras, the images, the folder, the machine. `nets.py` says whether a recipe fits an image size;
`build.py` builds the model; `housetrain.training` trains it.

    Recipe.of("cnn", conv=3, nodes=64, dense=0).name        # "3-conv-64-nodes-0-dense"
    Recipe.of("best", epochs=30, flip="none")               # digits and letters must not be mirrored
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Set
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from housetrain.errors import RecipeError
from housetrain.models.backbones import BACKBONES, ENCODER, NONE
from housetrain.models.efficientnet_lite import MOST_STAGES
from housetrain.models.nets import PRESETS
from housetrain.models.recipe_checks import contradictions, nearest, unused
from housetrain.models.setting_names import problem_text

PATIENCE = 5
"""Epochs without a better validation loss that end a training of more epochs than its preset has."""


class Recipe(BaseModel):
    """How one model is made: layers, optimizer, augmentation, limits. Frozen, flat and JSON-plain.

    Fields that are not given take the values of the preset that ``model`` names, so ``Recipe(model="cnn")``,
    ``Recipe.of("cnn")`` and a file holding ``{"model": "cnn"}`` are the same recipe, and ``Recipe()`` is the best one.

    Raises:
        RecipeError: One error for all problems: unknown settings (with the nearest name), wrong types, values out of
            range, settings that the model does not use, settings that contradict each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    model: str = Field(
        "best",
        description=f"The model: {', '.join(PRESETS)}, or a name given to models.nets.preset.",
    )
    weights: str = Field(
        NONE,
        min_length=1,
        description="Pretrained models only: imagenet (installed, or downloaded by Keras), a weights file, or none: "
        "train from scratch.",
    )
    weights_sha256: str = Field(
        "", pattern="^([0-9a-f]{64})?$", description="encoder only: sha256 of its file, compared before it is used."
    )
    preprocessing: str = Field(
        "",
        description="encoder only: imagenet, clip, or mean and deviation of pixels from 0 to 1, such as 0.5,0.5.",
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
        description="On frozen features: number of augmented views of each training image besides the image itself. "
        "Where flip is the only augmentation, views=1 (horizontal) and views=3 (both) are all mirror images.",
    )
    stages: int = Field(
        1,
        ge=1,
        le=MOST_STAGES,
        description="EfficientNet-Lite only: the head gets the mean of the last layer (1), or mean and maximum of this "
        "many of the last stages side by side.",
    )
    test_time_flips: Literal["none", "horizontal", "both"] = Field(
        "none",
        description="Pretrained models: the model averages its features over the image and its mirror images, 2 "
        "(horizontal) or 4 (both), in training and use: often more accurate, at 2 or 4 times the cost of a prediction.",
    )
    unfreeze: int = Field(
        0, ge=0, description="Pretrained models only: train this many of the last layers as well (fine-tuning)."
    )
    conv: int = Field(3, ge=1, le=12, description="Convolutions, each with an activation and a 2x2 max-pool.")
    nodes: int = Field(64, ge=1, le=4096, description="Filters of each convolution, and units of each dense layer.")
    dense: int = Field(0, ge=0, le=8, description="Dense layers between Flatten and the output.")
    kernel_size: int = Field(3, ge=1, le=15, description="Side of the convolution kernels, pixels.")
    activation: Literal["relu", "leaky_relu", "elu", "tanh", "sigmoid"] = Field(
        "relu", description="Activation after each convolution and dense layer."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of units dropped before the output while training.")

    image_size: int | None = Field(
        None, ge=4, le=2048, description="Side of the square image, pixels. Empty: the preset's."
    )
    color_mode: Literal["grayscale", "rgb"] | None = Field(None, description="Color of the input. Empty: the preset's.")
    resize: Literal["stretch", "pad", "crop"] = Field(
        "stretch", description="How an image is made square: stretched, padded, or cropped."
    )
    balance: Literal["weights", "trim", "none"] = Field(
        "weights", description="Uneven classes: weight the loss, trim to the smallest class, or leave as they are."
    )

    flip: Literal["none", "horizontal", "both"] = Field(
        "none",
        description="Random mirroring while training. Not for digits, letters or other images with a fixed direction.",
    )
    shift: float = Field(0.0, ge=0, le=1, description="Largest random shift, as a share of the image's side.")
    rotate: float = Field(0.0, ge=0, le=1, description="Largest random rotation either way, as a share of a full turn.")
    zoom: float = Field(
        0.0, ge=0, lt=1, description="Largest random zoom in: 0.4 shows a window of 0.6 to 1 of the side."
    )
    stretch: float = Field(0.0, ge=0, le=0.5, description="Largest random change of the aspect ratio, as a share.")
    contrast: float = Field(
        0.0, ge=0, le=1, description="Largest random change of contrast and brightness, as a share."
    )
    erase: float = Field(0.0, ge=0, le=1, description="Share of the training images in which a random box is erased.")
    progressive: float = Field(
        1.0,
        ge=0.5,
        le=1,
        description="Progressive resizing: training starts at this share of the image size and ends at full size.",
    )

    epochs: int = Field(10, ge=1, le=100_000, description="Passes over the training images.")
    batch_size: int = Field(32, ge=1, le=65_536, description="Images per step of the optimizer.")
    optimizer: Literal["adam", "adamw", "muon", "rmsprop", "sgd"] = Field(
        "adam",
        description="adam, adamw (with weight decay), muon (for kernels; else adam), rmsprop, sgd (Nesterov 0.9).",
    )
    learning_rate: float = Field(1e-3, gt=0, le=100, description="Peak learning rate.")
    schedule: Literal["constant", "cosine", "one-cycle"] = Field(
        "constant", description="Learning rate after the warm-up: constant, half a cosine, or one cycle up and down."
    )
    warmup_epochs: float = Field(
        0.0, ge=0, description="Epochs of linear rise to the peak learning rate; may be a fraction."
    )
    weight_decay: float = Field(
        0.0, ge=0, le=10, description="Decoupled weight decay of kernels (adamw, muon, rmsprop, sgd)."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target that is spread over all classes.")
    ema: float = Field(0.0, ge=0, lt=1, description="Momentum of a moving average of the weights; 0: none.")
    patience: int = Field(
        0,
        ge=0,
        description="Stop after this many epochs without a better validation loss; 0: never. More epochs than the "
        f"preset's at a constant learning rate: {PATIENCE} by default.",
    )
    time_limit_s: float | None = Field(
        None, gt=0, description="Stop after this many seconds; the running epoch is cut short."
    )

    seed: int = Field(0, ge=0, lt=2**31, description="Seed of weights, order, augmentation and dropout.")
    deterministic: bool = Field(False, description="Bit-identical results on the same machine, at some cost of speed.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Compute type; weights and loss stay float32. auto: bfloat16 where the hardware has it, 8 bits "
        "for the features of many images where the processor is quick at them.",
    )

    def __init__(self, **settings: Any) -> None:
        values = _filled(settings)
        problems: dict[str, str] = {}
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = _problems_in(error)
        valid = {name: value for name, value in values.items() if name not in problems}
        presets = _filled({"model": valid.get("model")})
        problems |= contradictions(valid, presets, given=settings.keys() - problems.keys())
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
        """Return this recipe with ``changes``, checked as a new one (pydantic's ``model_copy`` does not check).

        Changing ``model`` keeps the other settings; use `Recipe.of` for another preset.
        """
        kept = {name: value for name, value in self.model_dump().items() if name not in changes}
        return Recipe(**(_without_unused(kept | changes, keep=changes.keys())))

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
        """Whether the model starts from weights that were trained on other images."""
        return self.model in BACKBONES and self.weights != NONE

    @property
    def frozen(self) -> bool:
        """Whether only the head is trained: the features are computed once and kept."""
        return self.model == ENCODER or (self.pretrained and not self.unfreeze)

    @property
    def augments(self) -> bool:
        """Whether images are changed at random while training."""
        return self.flip != "none" or any((self.shift, self.rotate, self.zoom, self.stretch, self.contrast, self.erase))

    def side(self, epoch: int, full: int) -> int:
        """Return the side of the images that an epoch trains on: progressive resizing.

        Half of the epochs use the smallest size, a quarter the mean of both, the last quarter the full size (after
        Howard 2018, https://www.fast.ai/posts/2018-04-30-dawnbench-fastai.html).

        Args:
            epoch: Counted from 0.
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
        filled = Recipe.of(self.model, epochs=self.epochs, schedule=self.schedule).model_dump()
        preset = filled | {name: Recipe.of(self.model).model_dump()[name] for name in ("epochs", "schedule")}
        return {name: value for name, value in self.model_dump().items() if value != preset[name]}

    def to_json(self) -> dict[str, Any]:
        """Return the settings that the model uses as a JSON-plain dict."""
        return _without_unused(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        """Return the recipe that `to_json` wrote; missing settings take the preset's values.

        Raises:
            RecipeError: ``value`` is not a mapping, or holds problems.
        """
        if not isinstance(value, Mapping):
            raise RecipeError("The recipe is not an object of names and values", expected="an object", value=value)
        return cls(**_without_unused(value))


def _filled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all fields: those given, else the preset's, else the defaults."""
    defaults = {name: field.default for name, field in Recipe.model_fields.items()}
    return {**defaults, **_preset_settings(settings), **settings}


def _preset_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the preset fills in.

    Its warm-up keeps its share of the epochs when their number changes. More epochs than its own stop early at a
    constant learning rate; with a schedule the last epochs are the best ones.
    """
    model, epochs = given.get("model", "best"), given.get("epochs")
    settings = dict(PRESETS[model].settings) if isinstance(model, str) and model in PRESETS else {}
    if "epochs" in settings and isinstance(epochs, int | float | str):
        with contextlib.suppress(ValueError):  # pydantic reports such epochs
            share = float(epochs) / settings["epochs"]
            if "warmup_epochs" in settings:
                settings["warmup_epochs"] = round(settings["warmup_epochs"] * share, 3)
            if share > 1 and given.get("schedule", settings.get("schedule", "constant")) == "constant":
                settings.setdefault("patience", PATIENCE)
    return settings


def _problems_in(error: ValidationError) -> dict[str, str]:
    """Return field -> one phrase, with the nearest name for an unknown field."""
    problems: dict[str, str] = {}
    for item in error.errors(include_url=False):
        name = str(item["loc"][0]) if item["loc"] else "recipe"
        if item["type"] == "extra_forbidden":
            problems[name] = f"unknown setting{nearest(name, Recipe.model_fields)}"
        else:
            problems.setdefault(name, problem_text(item["msg"], item["input"]))
    return problems


def _without_unused(settings: Mapping[str, Any], *, keep: Set[str] = frozenset()) -> dict[str, Any]:
    """Return the settings without those that are not used and only repeat the default; ``keep`` stays in any case."""
    values = _filled(settings)
    idle, defaults = unused(values), _filled({"model": values["model"]})
    return {
        name: value for name, value in settings.items() if name in keep or name not in idle or value != defaults[name]
    }


def _recipe_error(problems: Mapping[str, str]) -> RecipeError:
    listed = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    error = RecipeError(f"The recipe has {count}: {listed}")
    for name, problem in problems.items():
        error.add_note(f"{name}: {problem}")  # one by one for a grid, which reports each problem once
    return error
