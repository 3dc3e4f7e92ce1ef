"""Backbones: models that were trained on ImageNet, as one part of a flat model.

In: a name, scaled images as a Keras tensor. Out: features, one row an image, and the layers that compute them. Does not
know: weights (see `housetrain.models.backbone_weights`), class names, heads, optimizers, run folders.

The table at the top is plain data, so that recipes and the command line read it without Keras. The images reach a
backbone as bytes: what its own ``preprocess_input`` does is done by layers inside the model.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from housetrain.errors import ModelError
from housetrain.system.backend import load_keras

Tensor = Any
IMAGENET, NONE = "imagenet", "none"


class Backbone(NamedTuple):
    """A pretrained model: of `keras.applications`, or of `housetrain.models.efficientnet_lite`.

    Args:
        application: Its function in `keras.applications`, or ``LITE``.
        module: Its module there.
        about: One line for help texts.
        side: Side of the images it was trained on, pixels.
        image_size: Side that transfer learning here prepares by default.
        smallest: Smallest side it takes.
        file: Its ImageNet weights without the top, as Keras keeps them in ``~/.keras/models``.
        whole_file: Its ImageNet weights with the top.
        scale: What ``preprocess_input`` multiplies pixels by, where the net does not do it by itself.
        offset: What it adds after that.
        means: Means of blue, green and red that it subtracts after turning RGB into BGR, or none.
    """

    application: str
    module: str
    about: str
    side: int
    image_size: int
    smallest: int
    file: str
    whole_file: str
    scale: float = 1.0
    offset: float = 0.0
    means: tuple[float, float, float] | None = None


LITE = "EfficientNetLite"
"""`Backbone.application` of the models whose ImageNet weights are an installed package: nothing is downloaded."""

BACKBONES: dict[str, Backbone] = {
    "efficientnet-lite0": Backbone(
        LITE,
        "",
        "EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946), pretrained on ImageNet: no download",
        224,
        224,
        32,
        "",
        "",
        scale=1 / 128,
        offset=-127 / 128,
    ),
    "xception": Backbone(
        "Xception",
        "xception",
        "Xception (Chollet 2017, arXiv:1610.02357), pretrained on ImageNet",
        299,
        150,
        71,
        "xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "xception_weights_tf_dim_ordering_tf_kernels.h5",
        scale=1 / 127.5,
        offset=-1.0,
    ),
    "efficientnetv2-b0": Backbone(
        "EfficientNetV2B0",
        "efficientnet_v2",
        "EfficientNetV2-B0 (Tan & Le 2021, arXiv:2104.00298), pretrained on ImageNet",
        224,
        224,
        32,
        "efficientnetv2-b0_notop.h5",
        "efficientnetv2-b0.h5",
    ),
    "mobilenetv3-large": Backbone(
        "MobileNetV3Large",
        "mobilenet_v3",
        "MobileNetV3-Large (Howard et al. 2019, arXiv:1905.02244), pretrained on ImageNet: the quickest",
        224,
        224,
        32,
        "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "weights_mobilenet_v3_large_224_1.0_float.h5",
    ),
    "resnet50": Backbone(
        "ResNet50",
        "resnet50",
        "ResNet-50 (He et al. 2016, arXiv:1512.03385), pretrained on ImageNet",
        224,
        224,
        32,
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
        means=(103.939, 116.779, 123.68),
    ),
    "convnext-tiny": Backbone(
        "ConvNeXtTiny",
        "convnext",
        "ConvNeXt-Tiny (Liu et al. 2022, arXiv:2201.03545), pretrained on ImageNet",
        224,
        224,
        32,
        "convnext_tiny_notop.h5",
        "convnext_tiny.h5",
    ),
}
"""Model name -> backbone. Recipes of these names have ``weights``, ``head``, ``views`` and ``unfreeze``."""

OWN = ("image", "augment", "scale", "three_channels", "to_bgr", "probability")
"""Layers of a transfer model that are not the backbone's, beside dropout before the output."""
HEAD_DROPOUT = "head_dropout"
_AUTOMATIC = re.compile(r"^(.*?)(_\d+)?$")


def features_of(x: Tensor, name: str, *, dtype: str = "float32") -> Tensor:
    """Return the backbone's features of ``x``: (batch, features), the mean over the image of its last layer.

    The backbone's layers become layers of the model that ``x`` belongs to, each with a name that does not depend on
    what was built before in this process. Their weights are what Keras draws; see `finish`.

    Args:
        x: Images after ``scale`` and ``offset`` of the `Backbone`, (batch, height, width, 1 or 3).
        name: In `BACKBONES`.
        dtype: A Keras dtype policy name, ``"float32"`` or ``"mixed_bfloat16"``.
    """
    keras = load_keras("building a net")
    backbone = BACKBONES[name]
    if x.shape[-1] == 1:
        x = keras.layers.Concatenate(name="three_channels", dtype=dtype)([x, x, x])
    if backbone.application == LITE:
        from housetrain.models import efficientnet_lite

        return efficientnet_lite.features_of(x, name, dtype=dtype)
    if backbone.means is not None:
        x = to_bgr(x, backbone.means)
    (image,) = keras.utils.get_source_inputs(x)
    before = {id(operation) for operation in keras.Model(image, x).operations}
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)  # keras.applications take no dtype
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other sizes than those of ImageNet's weights
            base = getattr(keras.applications, backbone.application)(
                include_top=False, weights=None, input_tensor=x, pooling="avg"
            )
    finally:
        keras.config.set_dtype_policy(policy)
    _name_anew([operation for operation in base.operations if id(operation) not in before])
    return base.output


def to_bgr(x: Tensor, means: Sequence[float]) -> Tensor:
    """Return ``x`` with red and blue exchanged and the means subtracted: ResNet's preprocessing, as one layer.

    A convolution of one pixel does it exactly, and every engine and exporter knows it.
    """
    import numpy as np

    keras = load_keras("building a net")
    layer = keras.layers.Conv2D(3, 1, name="to_bgr", dtype="float32", trainable=False)
    y = layer(x)
    layer.set_weights([np.eye(3, dtype=np.float32)[None, None, ::-1], -np.asarray(means, dtype=np.float32)])
    return y


def _name_anew(operations: Sequence[Any]) -> None:
    """Give layers that Keras numbered through (``conv2d_17``) the number they have in this net, from 1."""
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
            raise ModelError("Two layers of the net have one name", name=name)
        taken.add(name)
        operation.name = name


def base_layers(model: Any) -> list[Any]:
    """Return the backbone's layers of a model of `models.build`, from the image on."""
    return [layer for layer in model.layers if layer.name not in (*OWN, HEAD_DROPOUT)]
