"""An encoder of the user's own: equal to ONNX Runtime on the same pixels, and refused where it is something else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_nets import WIDTH, Graph, node, pooling_net, transformer

import housetrain as ht
from housetrain.errors import MissingExtra, ModelError, RecipeError
from housetrain.inference.encoder import load_encoder, normalization
from housetrain.inference.engine import run_padded

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


def pixels(count: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def features(file: Path, images: np.ndarray, preprocessing: str = "imagenet") -> np.ndarray:
    encoder = load_encoder(file, preprocessing, None if "fixed" in file.name else images.shape[1])
    assert encoder.spec.shape == images.shape[1:]
    parts = [images[at : at + encoder.batch] for at in range(0, len(images), encoder.batch)]
    return np.concatenate([run_padded(encoder.engine, part, encoder.batch) for part in parts])


def by_onnx_runtime(file: Path, images: np.ndarray, output: str, *, last: bool = False) -> np.ndarray:
    """The mean and deviation of ImageNet, one image at a time."""
    x = (images.astype(np.float32) / 255 - [0.485, 0.456, 0.406]) / np.array([0.229, 0.224, 0.225])
    x = (x if last else x.transpose(0, 3, 1, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([output], {"pixels": x[at : at + 1]})[0] for at in range(len(x))])


@pytest.mark.parametrize(
    ("shape", "last"),
    [
        (("N", 3, "height", "width"), False),
        (("N", "channels", "height", "width"), False),
        ((1, 3, 32, 48), False),
        ((4, 3, 32, 48), False),
        (("N", 32, 48, 3), True),
    ],
)
def test_pooled_features_equal_onnx_runtime(tmp_path: Path, shape: tuple[Any, ...], last: bool) -> None:
    fixed = 32 in shape
    file = pooling_net(tmp_path / ("fixed.onnx" if fixed else "open.onnx"), last=last, shape=shape)
    images = pixels(18, 32, 48 if fixed else 32)
    found = features(file, images)
    assert found.shape == (18, WIDTH) and found.dtype == np.float32
    maps = pooling_net(tmp_path / f"maps-{file.name}", flat=False, last=last, shape=shape)  # (N, WIDTH, 1, 1)
    assert features(maps, images) == pytest.approx(found, rel=1e-5, abs=1e-5)
    if shape[0] == 4:  # ONNX Runtime insists on the batch size
        file = pooling_net(tmp_path / "one.onnx", shape=("N", 3, 32, 48))
    assert found == pytest.approx(by_onnx_runtime(file, images, "features", last=last), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("outputs", "class_token", "batch", "reduce"),
    [
        (["tokens"], True, 0, lambda tokens: tokens[:, 0]),
        (["tokens"], False, 0, lambda tokens: tokens.mean(axis=1)),
        (["tokens", "pooled"], True, 0, lambda tokens: tokens[:, -1]),
        (["tokens"], True, 1, lambda tokens: tokens[:, 0]),
    ],
)
def test_tokens_become_one_row_an_image(
    tmp_path: Path, outputs: list[str], class_token: bool, batch: int, reduce: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Also where a graph holds a fixed batch size although its input says that it is open."""
    file = transformer(tmp_path / "vit.onnx", outputs, class_token=class_token, batch=batch)
    images = pixels(5)
    tokens = by_onnx_runtime(file, images, "tokens")
    assert tokens.shape == (5, 16 + class_token, WIDTH)
    assert features(file, images) == pytest.approx(reduce(tokens), rel=1e-3, abs=1e-4)


def test_preprocessing_is_a_name_or_numbers(tmp_path: Path) -> None:
    assert normalization("0.5,0.25") == ((0.5,) * 3, (0.25,) * 3)
    assert normalization("0.1, 0.2, 0.3, 1, 2, 3") == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert normalization("clip")[0][0] == pytest.approx(0.48145466)
    file = pooling_net(tmp_path / "net.onnx")
    images = pixels(2)
    plain, moved = (features(file, images, text) for text in ("0,1", "0,0.5"))
    assert moved == pytest.approx(2 * plain, rel=1e-4, abs=1e-5), "half the deviation doubles a linear net"
    for text in ("siglip", "0.5", "0.5,0", "0.5,-1", "0,nan", "1,2,3", "0,1,2,3"):
        with pytest.raises(RecipeError, match="Expected: imagenet, clip, MEAN,STD"):
            normalization(text)
    with pytest.raises(RecipeError, match="does not say how it wants its pixels"):
        normalization("")


def test_what_is_no_image_encoder_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    floats, bytes_ = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8

    def second_input(model: Graph) -> None:
        model.graph.input.append(onnx.helper.make_tensor_value_info("words", floats, ("N", 7)))
        model.graph.node[0].op_type = "Identity"
        model.graph.node.append(node("Identity", "words", "same"))
        model.graph.output.append(onnx.helper.make_tensor_value_info("same", floats, None))

    def of_bytes(model: Graph) -> None:
        model.graph.input[0].type.tensor_type.elem_type = bytes_
        model.graph.node[0].op_type = "Cast"
        model.graph.node[0].attribute.add(name="to", i=floats, type=onnx.AttributeProto.INT)

    def of_rows(model: Graph) -> None:
        del model.graph.node[1:], model.graph.input[0].type.tensor_type.shape.dim[3]
        model.graph.output[0].name = "x"

    def of_maps(model: Graph) -> None:
        model.graph.output[0].name = "patches"

    for change, shape, word in (
        (lambda model: model.graph.node.add(op_type="Loop"), None, "holds Loop"),
        (lambda model: model.graph.initializer[0].external_data.add(key="location", value="x"), None, "another file"),
        (second_input, None, "does not take one batch of RGB images"),
        (of_bytes, None, "does not take one batch of RGB images"),
        (None, ("N", 1, 32, 32), "does not take one batch of RGB images"),
        (of_rows, None, "does not take one batch of RGB images"),
        (of_maps, None, "no output of features"),
        (None, ("N", 3, 4, 4), "Kernel after dilation has size"),  # less than a patch
    ):
        pooling_net(path, change=change, shape=shape or ("N", 3, "height", "width"))
        with pytest.raises(ModelError, match=word) as error:
            load_encoder(path, "imagenet")
        assert "Do: export the image encoder alone" in str(error.value) and "\n" not in str(error.value)
    for broken in (b"", b"no model", pooling_net(path).read_bytes()[:700]):
        path.write_bytes(broken)
        with pytest.raises(ModelError):
            load_encoder(path, "imagenet")
    with pytest.raises(ModelError, match="no such model file"):
        load_encoder(tmp_path / "none.onnx", "imagenet")
    with pytest.raises(RecipeError, match="images of another size"):
        load_encoder(pooling_net(path, shape=("N", 3, 32, 32)), "imagenet", 64)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = pooling_net(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match="onnx"):
        load_encoder(file, "imagenet")


def test_embed_runs_an_encoder_without_tensorflow(photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for label in ("cats", "dogs"):
        (root / label).mkdir(parents=True)
        for path in sorted((photos / label).iterdir())[:3]:
            (root / label / path.name).write_bytes(path.read_bytes())
    file, output = transformer(tmp_path / "encoder.ONNX", ["tokens"]), tmp_path / "features.npz"
    arguments = ["embed", root, "--backbone", file, "--backbone-preprocessing", "imagenet", "--image-size", "32"]
    code = (
        "import sys; from housetrain.cli import main\n"
        "try:\n    main()\nfinally:\n    print([one for one in ('tensorflow', 'keras') if one in sys.modules])"
    )
    command = [sys.executable, "-c", code, *map(str, [*arguments, "--output", output])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"6 images with {WIDTH} features each" in done.stdout and done.stdout.rstrip().endswith("[]")
    with np.load(output) as kept:
        spec = ht.InputSpec(height=32, width=32, color_mode="rgb")
        images = np.stack([ht.load_image(root / path, spec) for path in kept["paths"]])
        wanted = by_onnx_runtime(file, images, "tokens")[:, 0]
        assert kept["features"] == pytest.approx(wanted, rel=1e-3, abs=1e-4)
        assert kept["labels"].tolist() == ["cats"] * 3 + ["dogs"] * 3


def test_embed_asks_for_what_the_file_does_not_say(photos: Path, tmp_path: Path) -> None:
    file = pooling_net(tmp_path / "net.onnx")
    with pytest.raises(RecipeError, match="--backbone-preprocessing imagenet, clip"):
        ht.embed(photos, backbone=file)
    with pytest.raises(RecipeError, match="holds its weights"):
        ht.embed(photos, backbone=file, weights="other.h5", backbone_preprocessing="clip")
    with pytest.raises(RecipeError, match="pretrained model is known"):
        ht.embed(photos, backbone="xception", backbone_preprocessing="clip")
    with pytest.raises(RecipeError, match=r"or a file that ends with \.onnx"):
        ht.embed(photos, backbone="encoder.pt")
