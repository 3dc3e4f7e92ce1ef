"""The model input as one value: image size, color mode, resize rule and background.

In: plain values. Out: an `InputSpec`, which travels with prepared arrays, runs and bundles as JSON. It does not know
how an image is decoded or resized; that is `housetrain.images.decode`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from housetrain.errors import DataError

ColorMode = Literal["grayscale", "rgb"]
Resize = Literal["stretch", "pad", "crop"]

WHITE = 65535
"""The value that is white in a 16-bit image which uses all of its bits."""

_MAX_SIDE = 4096
_WHITES = {255, 511, 1023, 2047, 4095, 8191, 16383, WHITE}


@dataclass(frozen=True)
class InputSpec:
    """The shape and preprocessing of a model's input. Prepared arrays, runs and bundles carry it as plain JSON.

    Args:
        height: Pixels, 1 to 4096.
        width: Pixels, 1 to 4096.
        color_mode: ``"grayscale"`` (one channel, ITU-R BT.601 luma) or ``"rgb"``.
        resize: ``"stretch"``: resize to the exact size, ignoring the aspect ratio; ``"pad"``: fit inside and fill the
            rest with the background; ``"crop"``: scale the short side, then crop the center.
        background: RGB, each 0 to 255: replaces transparent pixels and fills the border of ``"pad"``.
        white: The value of a 16-bit image that becomes 255; larger ones do, too. 65535, or what 8 to 14 bits hold:
            X-rays, microscopes and thermal cameras store 10 to 14 bits in 16. `housetrain.prepare` replaces 65535 by
            the value that fits the folder (`housetrain.Catalog.white`).

    Raises:
        DataError: A value is out of range. The message lists all of them.
    """

    height: int = 50
    width: int = 50
    color_mode: ColorMode = "grayscale"
    resize: Resize = "stretch"
    background: tuple[int, int, int] = (255, 255, 255)
    white: int = WHITE

    def __post_init__(self) -> None:
        wrong: dict[str, Any] = {}
        for name in ("height", "width"):
            side = getattr(self, name)
            if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= _MAX_SIDE:
                wrong[name] = side
        if self.color_mode not in ("grayscale", "rgb"):
            wrong["color_mode"] = self.color_mode
        if self.resize not in ("stretch", "pad", "crop"):
            wrong["resize"] = self.resize
        background = self.background
        if (
            not isinstance(background, tuple)
            or len(background) != 3
            or not all(isinstance(value, int) and 0 <= value <= 255 for value in background)
        ):
            wrong["background"] = background
        if not isinstance(self.white, int) or self.white not in _WHITES:
            wrong["white"] = self.white
        if wrong:
            raise DataError(
                "Invalid input spec",
                expected=f"height and width 1 to {_MAX_SIDE}, color_mode grayscale or rgb, resize stretch, pad or "
                f"crop, background three integers 0 to 255, white one of {', '.join(map(str, sorted(_WHITES)))}",
                **wrong,
            )

    @property
    def channels(self) -> int:
        """1 for grayscale, 3 for RGB."""
        return 1 if self.color_mode == "grayscale" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)``."""
        return self.height, self.width, self.channels

    def to_json(self) -> dict[str, Any]:
        """Return the spec as values that JSON can hold, without ``white`` where that is 65535."""
        value = {**asdict(self), "background": list(self.background)}
        if self.white == WHITE:
            del value["white"]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> InputSpec:
        """Create a spec from what `to_json` returned.

        Raises:
            DataError: A key is missing or unknown, or a value is out of range.
        """
        known = {"height", "width", "color_mode", "resize", "background"}
        if not isinstance(value, dict) or set(value) - {"white"} != known or not isinstance(value["background"], list):
            raise DataError("Not an input spec", expected=", ".join(sorted(known)), value=value)
        return cls(**{**value, "background": tuple(value["background"])})


def white_of(peak: int) -> int:
    """Return the value that is white where ``peak`` is the largest one: all ones in 8 to 14 bits, else 65535."""
    bits = max(8, peak.bit_length())
    return 2**bits - 1 if peak and bits <= 14 else WHITE
