"""A run on an image encoder of the user's own: from a folder to predictions, with the file's sha256 at each step."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hostile import encode
from typer.testing import CliRunner

import housetrain as ht
from housetrain.cli.app import app
from housetrain.errors import HousetrainError, ModelError, RecipeError
from housetrain.exports.about import is_current
from housetrain.exports.bundle import benchmark
from housetrain.inference.encoder import encoder_of, encoder_recipe
from housetrain.inference.formats import FORMATS
from housetrain.inference.predictor import Predictor

pytest.importorskip("keras")
pytest.importorskip("openvino")
from onnx_nets import WIDTH, node, pooling_net, transformer

SPEC = ht.InputSpec(height=32, width=32, color_mode="rgb")


def write_classes(root: Path, *names: str) -> Path:
    """Twelve images a class, whose colors differ from class to class."""
    random = np.random.default_rng(4)
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(12):
            pixels = random.integers(0, 90, (40, 40, 3))
            pixels[..., number] += 150
            (root / name / f"{index}.png").write_bytes(encode(pixels.astype(np.uint8), "PNG"))
    return root


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> ht.Outcome:
    """A run on an encoder whose graph holds the batch size 1."""
    root = tmp_path_factory.mktemp("backbone")
    file = transformer(root / "encoder.onnx", ["tokens"], batch=1)
    folder = write_classes(root / "images", "blue", "green", "red")
    recipe = encoder_recipe(file, "imagenet", 32, seed=3)
    return ht.run(folder, root / "run", recipe=recipe, prepared=root / "prepared", workers=1)


def test_the_run_keeps_the_sha256_and_needs_neither_keras_nor_the_encoder(outcome: ht.Outcome) -> None:
    run = outcome.run
    file = Path(str(run.recipe_json["weights"]))
    about = json.loads((outcome.bundle / "bundle.json").read_bytes())
    assert hashlib.sha256(file.read_bytes()).hexdigest() == run.recipe_json["weights_sha256"]
    assert about["recipe"]["weights_sha256"] == run.recipe_json["weights_sha256"]
    assert about["recipe"]["weights"] == "encoder.onnx", "a bundle names no folder of this machine"
    assert [entry["format"] for entry in about["models"]] == ["openvino"]
    assert not (run.folder / "model.keras").exists() and is_current(outcome.bundle, run)
    assert outcome.evaluation.accuracy == 1.0 and "encoder" in outcome.report.read_text("utf-8")

    images = np.asarray(outcome.prepared.validation.images)
    wanted = run.validation_probabilities(len(images))
    assert wanted is not None
    moved = file.rename(file.with_suffix(".away"))
    try:
        for place in (outcome.bundle, run.folder):
            with Predictor.load(place) as predictor:
                assert predictor.engine.name.startswith("OpenVINO")
                assert np.abs(predictor.probabilities(images) - wanted).max() < 0.02  # at the run's temperature
    finally:
        moved.rename(file)


def test_the_model_is_the_encoder_and_the_head_that_was_fitted(outcome: ht.Outcome) -> None:
    run, images = outcome.run, np.asarray(outcome.prepared.validation.images)
    encoder = encoder_of(ht.Recipe.from_json(run.recipe_json), SPEC)
    assert encoder.width == WIDTH and (run.result or {})["parameters"] == encoder.parameters + 3 * (WIDTH + 1)
    engine = FORMATS["openvino"].open(run.model_path, classes=3, input_shape=SPEC.shape)
    assert engine.run(images) == pytest.approx(run.validation_probabilities(len(images)), abs=2e-3)
    assert engine.run(images[:1]) == pytest.approx(engine.run(images)[:1], abs=1e-6)


def test_a_changed_model_or_encoder_is_noticed(outcome: ht.Outcome, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(outcome.run.folder, tmp_path / "run"))
    before = ht.Run(copy).model_sha256
    weights = bytearray((copy / "model.bin").read_bytes())
    weights[-1] ^= 1
    (copy / "model.bin").write_bytes(bytes(weights))
    assert ht.Run(copy).model_sha256 != before and not is_current(copy / "bundle", ht.Run(copy))

    file = pooling_net(tmp_path / "other.onnx")
    recipe = encoder_recipe(file, "imagenet", 32)
    pooling_net(file, flat=False)
    with pytest.raises(ModelError, match="The encoder's file was changed"):
        encoder_of(recipe, SPEC)


def test_what_needs_a_keras_model_says_so_in_one_line(outcome: ht.Outcome, tmp_path: Path) -> None:
    run = outcome.run
    assert [row.format for row in benchmark(run).rows] == ["openvino"]
    for call, word in (
        (lambda: ht.export(run, format="onnx"), "is not converted to other formats"),
        (lambda: benchmark(run, formats=["litert"]), "is not converted to other formats"),
        (lambda: ht.finetune(run), "Only a run of a pretrained model"),
        (lambda: Predictor.load(run, engine="keras"), "The run has no keras model"),
        (run.load_model, "it is one for OpenVINO"),
    ):
        with pytest.raises(HousetrainError, match=word) as error:
            call()
        assert "\n" not in str(error.value)


def test_the_command_checks_the_file_before_it_reads_an_image(tmp_path: Path) -> None:
    hostile = pooling_net(
        tmp_path / "hostile.onnx", change=lambda model: model.graph.node.append(node("Loop", "", "x"))
    )
    good, folder = pooling_net(tmp_path / "good.onnx", shape=("N", 3, 32, 32)), str(tmp_path / "no images")
    usual = ["--backbone-preprocessing", "imagenet"]
    for arguments, word in (
        ([*usual, "--backbone", str(hostile)], "holds Loop"),
        (["--backbone", str(good)], "does not say how it wants its pixels"),
        ([*usual, "--backbone", str(good), "--image-size", "64"], "images of another size"),
        ([*usual, "--backbone", str(good), "--model", "cnn", "--weights", "none"], "leave out --model, --weights"),
        ([*usual, "--backbone", str(good), "--epochs", "3"], "not trained by epochs"),
        ([*usual, "--backbone", str(tmp_path / "net.pt")], "not an .onnx file"),
        (usual, "add --backbone FILE.onnx"),
        ([*usual, "--backbone", str(good)], "The folder does not exist"),
    ):
        found = CliRunner().invoke(app, ["run", folder, *arguments])
        assert found.exit_code and word in str(found.exception or found.output), arguments


def test_images_of_another_size_or_color_do_not_fit(tmp_path: Path) -> None:
    file = pooling_net(tmp_path / "net.onnx")
    with pytest.raises(RecipeError, match="an encoder takes RGB images"):
        encoder_recipe(file, "imagenet", 32, color_mode="grayscale")
    recipe = encoder_recipe(file, "imagenet", 32)
    gray = ht.InputSpec(height=32, width=32, color_mode="grayscale")
    with pytest.raises(RecipeError, match="not prepared as the encoder takes them"):
        encoder_of(recipe, gray)
    with pytest.raises(RecipeError, match="does not take square images"):
        encoder_recipe(pooling_net(file, shape=("N", 3, 32, 48)), "imagenet")
