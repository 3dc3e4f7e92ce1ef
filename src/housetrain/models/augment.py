"""Augment: random changes of images, while training only.

In: a batch of images, values 0 to 255. Out: float32 images of the same shape, values 0 to 255; shrunk to a smaller
side while a training asks for it. Does not know: classes, recipes (it takes the amounts as numbers), epochs, scaling.

Mirror, shift, rotation, zoom and stretch are one affine map, so an image is resampled once: sharper than a chain of
Keras' layers, and at a third of their cost. Contrast and brightness are one multiply-add after it.
`build.for_inference` leaves this layer out of what is saved for use, so that a saved model is plain Keras.
"""

from __future__ import annotations

import math
from typing import Any

import keras  # noqa: TID253 - a layer needs its base class; only build.py imports this module
from keras import ops  # noqa: TID253


@keras.saving.register_keras_serializable(package="housetrain")
class Augment(keras.layers.Layer):  # type: ignore[misc]  # keras carries no types
    """Random mirroring, window, rotation, contrast, brightness and erasing; the identity outside training.

    What falls outside the image is filled by reflection. Each image of a batch has its own random
    values, from a `keras.random.SeedGenerator` whose state is a variable: restoring it repeats the same changes.

    Args:
        flip: ``"none"``, ``"horizontal"`` or ``"both"`` (horizontal and vertical, each with probability 1/2).
        shift: Largest shift along each axis, as a share of that side, 0 to 1.
        rotate: Largest rotation either way, as a share of a full turn, 0 to 1.
        zoom: Smallest window is ``1 - zoom`` of the side, 0 to 1. Windows are drawn uniform in area (Szegedy et al.
            2014, arXiv:1409.4842) and lie anywhere inside the image.
        stretch: Largest change of width against height, as a natural logarithm, 0 to 0.5.
        contrast: Contrast factor from ``1 - contrast`` to ``1 + contrast``; brightness likewise, of half the range.
        erase: Share of the images in which a box is filled with their mean color, 0 to 1 (Zhong et al. 2017,
            arXiv:1708.04896). Its sides are 0.15 to 0.5 of the image's.
        seed: Seed of the draws.
        **kwargs: Of `keras.layers.Layer`.
    """

    def __init__(
        self,
        *,
        flip: str = "none",
        shift: float = 0.0,
        rotate: float = 0.0,
        zoom: float = 0.0,
        stretch: float = 0.0,
        contrast: float = 0.0,
        erase: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flip, self.shift, self.rotate, self.zoom = flip, shift, rotate, zoom
        self.stretch, self.contrast, self.erase, self.seed = stretch, contrast, erase, seed
        self.side: int | None = None  # set by training, which then retraces its step
        self.seed_generator = keras.random.SeedGenerator(seed)
        # TensorFlow's affine map has no XLA kernel; JAX without compilation would be many times slower.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, images: Any, training: bool = False) -> Any:
        """Return the images, changed if ``training``.

        Args:
            images: ``(batch, height, width, channels)``, uint8 or float, 0 to 255.
            training: Set by Keras.
        """
        images = ops.cast(images, "float32")
        if not training:
            return images
        if self.side is not None and self.side < min(images.shape[1:3]):
            images = ops.image.resize(images, (self.side, self.side), antialias=True, data_format="channels_last")
        batch, height, width = ops.shape(images)[0], images.shape[1], images.shape[2]
        if any((self.shift, self.rotate, self.zoom, self.stretch)):
            transform = self._transform(batch, float(height), float(width))
            images = ops.image.affine_transform(
                images, transform, interpolation="bilinear", fill_mode="reflect", data_format="channels_last"
            )
        elif self.flip != "none":  # mirroring alone needs no resampling
            images = self._mirrored(images, batch)
        if self.contrast:
            factor = 1.0 + self._draw((batch, 1, 1, 1), self.contrast)
            brighter = 127.5 * self._draw((batch, 1, 1, 1), self.contrast)
            mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
            images = ops.clip((images - mean) * factor + (mean + brighter), 0.0, 255.0)
        if self.erase:
            images = self._erased(images, batch)
        return images

    def compute_output_spec(self, images: Any, training: bool = False) -> Any:
        """Return the shape and type of the output; Keras calls this while it builds a model."""
        del training
        return keras.KerasTensor(images.shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        own = ("flip", "shift", "rotate", "zoom", "stretch", "contrast", "erase", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def _draw(self, shape: tuple[Any, ...], amount: float) -> Any:
        return keras.random.uniform(shape, -amount, amount, seed=self.seed_generator)

    def _sign(self, shape: tuple[Any, ...], on: bool) -> Any:
        return ops.where(self._draw(shape, 1.0) < 0.0, -1.0, 1.0) if on else ops.ones(shape)

    def _mirrored(self, images: Any, batch: Any) -> Any:
        axes = (2, 1) if self.flip == "both" else (2,)
        for axis in axes:
            images = ops.where(self._draw((batch, 1, 1, 1), 1.0) < 0.0, ops.flip(images, axis=axis), images)
        return images

    def _erased(self, images: Any, batch: Any) -> Any:
        """Fill a box in some of the images. It may lie partly outside."""

        def inside(sides: int, axis: int) -> Any:
            one = (batch, 1, 1, 1)
            middle = keras.random.uniform(one, 0.0, float(sides), seed=self.seed_generator)
            half = keras.random.uniform(one, 0.075 * sides, 0.25 * sides, seed=self.seed_generator)
            shape = [sides if each == axis else 1 for each in range(4)]
            return ops.abs(ops.reshape(ops.arange(sides, dtype="float32"), shape) - middle) < half

        chosen = keras.random.uniform((batch, 1, 1, 1), seed=self.seed_generator) < self.erase
        box = ops.logical_and(inside(images.shape[1], 1), inside(images.shape[2], 2))
        mean = ops.mean(images, axis=(1, 2), keepdims=True)
        return ops.where(ops.logical_and(chosen, box), mean, images)

    def _transform(self, batch: Any, height: float, width: float) -> Any:
        """Return (batch, 8): for each output pixel (x, y) the coordinates of its input pixel."""
        one = (batch,)
        area = keras.random.uniform(one, (1.0 - self.zoom) ** 2, 1.0, seed=self.seed_generator)
        side, ratio = ops.sqrt(area), ops.exp(self._draw(one, self.stretch))
        wide, tall = side * ratio, side / ratio
        angle = self._draw(one, 2.0 * math.pi * self.rotate)
        across, down = self._sign(one, self.flip != "none"), self._sign(one, self.flip == "both")
        a0, a1 = wide * ops.cos(angle) * across, -wide * ops.sin(angle) * down
        b0, b1 = tall * ops.sin(angle) * across, tall * ops.cos(angle) * down
        # The middle of the window: anywhere that keeps it inside, and the shift beyond that.
        width, height = width - 1.0, height - 1.0
        x = width * (0.5 + self._draw(one, 0.5) * ops.relu(1.0 - wide) + self._draw(one, self.shift))
        y = height * (0.5 + self._draw(one, 0.5) * ops.relu(1.0 - tall) + self._draw(one, self.shift))
        a2, b2 = x - (a0 * width + a1 * height) / 2.0, y - (b0 * width + b1 * height) / 2.0
        zero = ops.zeros_like(a0)
        return ops.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1)
