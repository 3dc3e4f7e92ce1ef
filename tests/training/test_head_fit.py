"""Transfer learning: features once, a head in seconds, one whole model. On real digits and a small untrained net."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import keras  # noqa: TID253
import numpy as np
import prepared_digits
import pytest
from events_of import Event, Listener

from housetrain import workflow
from housetrain.data.prepare import Prepared
from housetrain.errors import ModelError, RecipeError
from housetrain.evaluation.evaluate import evaluate
from housetrain.inference.novelty import Novelty
from housetrain.inference.predictor import Predictor
from housetrain.models import backbones
from housetrain.models.build import build
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.training import feature_store, features, head_fit, logistic
from housetrain.training.batches import Examples
from housetrain.training.finetune import finetune, finetuned_recipe
from housetrain.training.interrupt import Interrupted, Signals
from housetrain.training.run import Run
from housetrain.training.train import train

NET = "mobilenetv3-large"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file as `save_weights` writes it: untrained convolutions, as batch norm would find them."""
    keras.utils.set_random_seed(1)
    net = keras.applications.MobileNetV3Large(include_top=False, weights=None, input_shape=(36, 36, 3), pooling="avg")
    path = tmp_path_factory.mktemp("weights") / "notop.weights.h5"
    noise = np.random.default_rng(0).integers(0, 256, (64, 36, 36, 3)).astype("float32")
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # one step: the statistics of these images
    net(noise, training=True)
    net.save_weights(path)
    return path


@pytest.fixture
def digits(tmp_path: Path) -> Prepared:
    """Three digits, 32x32 gray."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    keep = np.flatnonzero(bunch.target < 3)[:300]
    images = np.repeat(np.repeat(bunch.images[keep], 4, axis=1), 4, axis=2)
    images = (images * 255 / 16).round().astype(np.uint8)[..., None]
    return prepared_digits.prepared_of(images, bunch.target[keep].tolist(), ["0", "1", "2"], tmp_path / "arrays")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were computed, call by call."""
    rows: list[int] = []
    real = features.FeatureStore.append

    def append(self: features.FeatureStore, keys: list[bytes], values: np.ndarray) -> None:
        rows.append(len(keys))
        real(self, keys, values)

    monkeypatch.setattr(features.FeatureStore, "append", append)
    return rows


@pytest.mark.parametrize("head", ["logistic", "dense"])
def test_the_saved_model_is_base_and_head_in_one(
    head: str, digits: Prepared, weights: Path, tmp_path: Path, counted: list[int]
) -> None:
    settings = {"learning_rate": 0.01, "batch_size": 16} if head == "dense" else {}
    recipe = Recipe.of(NET, weights=str(weights), head=head, precision="float32", **settings)
    run = train(digits, recipe, tmp_path / "run")
    assert sum(counted) == len(digits.train.labels) + len(digits.validation.labels)
    result = run.result
    assert result is not None and result["val_accuracy"] > 0.6, "even untrained convolutions tell digits apart"
    assert result["parameters"] > 2_900_000 and result["engine"]

    whole = keras.models.load_model(run.model_path)
    assert whole.input.dtype == "uint8" and whole.input_shape == (None, 32, 32, 1)
    images = np.asarray(digits.validation.images)
    base = keras.Model(whole.input, whole.get_layer("probability").input)
    kernel, bias = whole.get_layer("probability").get_weights()
    logits = np.asarray(base(images)) @ kernel + bias
    by_hand = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = whole.predict(images, verbose=0)
    assert answers == pytest.approx(by_hand, abs=1e-3)
    assert np.load(run.folder / "validation.npy") == pytest.approx(answers, abs=5e-3), "features are kept as float16"

    # The base itself is that of the file, image preprocessing included.
    plain = keras.applications.MobileNetV3Large(
        include_top=False, weights=weights, input_shape=(32, 32, 3), pooling="avg"
    )
    expected = plain(keras.applications.mobilenet_v3.preprocess_input(np.repeat(images, 3, axis=-1).astype("float32")))
    assert np.asarray(base(images)) == pytest.approx(np.asarray(expected), abs=1e-4)

    evaluation = evaluate(run, prepared=digits)
    truth = digits.test.labels
    by_keras = whole.predict(np.asarray(digits.test.images), verbose=0)
    assert evaluation.n == len(truth) and evaluation.opening is not None and evaluation.opening.count == 1
    assert evaluation.correct == int((by_keras.argmax(axis=1) == truth).sum())


def test_features_are_computed_once_and_another_head_takes_no_time(
    digits: Prepared, weights: Path, tmp_path: Path, counted: list[int]
) -> None:
    train(digits, Recipe.of(NET, weights=str(weights)), tmp_path / "one")
    first = sum(counted)
    train(digits, Recipe.of(NET, weights=str(weights), label_smoothing=0.1), tmp_path / "two")
    assert sum(counted) == first
    train(digits, Recipe.of(NET, weights=str(weights), views=2), tmp_path / "three")
    assert sum(counted) == first + 2 * len(digits.train.labels), "only the views are new"
    folders = list((digits.folder / "features").iterdir())
    known = [store.read_json(folder / "about.json") for folder in folders]
    assert {about["model"] for about in known} == {NET}
    assert len({about["precision"] for about in known}) == len(folders), "validation as the exported model computes"


@pytest.mark.parametrize("flips", [pytest.param("horizontal", marks=pytest.mark.slow), "both"])
def test_the_model_averages_over_mirror_images_in_training_and_in_use(
    flips: str, digits: Prepared, weights: Path, tmp_path: Path, counted: list[int]
) -> None:
    train(digits, Recipe.of(NET, weights=str(weights)), tmp_path / "plain")
    plain, images = sum(counted), len(digits.train) + len(digits.validation)
    run = train(digits, Recipe.of(NET, weights=str(weights), test_time_flips=flips), tmp_path / "run")
    assert sum(counted) - plain == (1 if flips == "horizontal" else 3) * images, "the images themselves were kept"
    model, shown = keras.models.load_model(run.model_path), np.asarray(digits.validation.images)
    answers = model.predict(shown, verbose=0)
    assert np.load(run.folder / "validation.npy") == pytest.approx(answers, abs=5e-3)
    assert model.predict(shown[:, :, ::-1], verbose=0) == pytest.approx(answers, abs=1e-5)
    upside_down = np.abs(model.predict(shown[:, ::-1], verbose=0) - answers).max()
    assert bool(upside_down < 1e-5) is (flips == "both")
    one_view = keras.models.load_model(tmp_path / "plain" / "model.keras")
    assert np.abs(one_view.predict(shown[:, :, ::-1], verbose=0) - one_view.predict(shown, verbose=0)).max() > 1e-3
    assert evaluate(run, prepared=digits).accuracy > 0.6


def test_validation_is_scored_as_the_exported_model_computes(
    digits: Prepared, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where training features are in bfloat16, a model served in float32 would be judged by other numbers."""
    monkeypatch.setattr(features, "auto_precision", lambda: "bfloat16")  # as on a processor that has it
    run = train(digits, Recipe.of(NET, weights=str(weights), precision="auto"), tmp_path / "run")
    kept = {store.read_json(path)["precision"] for path in (digits.folder / "features").glob("*/about.json")}
    assert kept == {"auto", "float32"}
    answers = keras.models.load_model(run.model_path).predict(np.asarray(digits.validation.images), verbose=0)
    assert np.load(run.folder / "validation.npy") == pytest.approx(answers, abs=5e-3)
    both = [*digits.train.sha256[:3], *digits.validation.sha256[:3]]
    found = feature_store.kept_features(digits.folder, both)
    assert found is not None and len(found) == 6 and found.any(axis=1).all(), "of both precisions"


def test_many_training_images_are_computed_in_8_bits_and_validation_in_float32(
    digits: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    recipe, kept = Recipe.of("efficientnet-lite0", seed=1), digits.folder / "features"
    few = train(digits, recipe, tmp_path / "few").result
    assert few is not None and "int8" not in few["engine"], "too few images"
    monkeypatch.setattr(head_fit, "_INT8_IMAGES", 100)
    monkeypatch.setattr(head_fit, "quick_precisions", lambda: ("int8",))  # as on a processor that has it
    run = train(digits, recipe, tmp_path / "run")
    assert run.result is not None and run.result["engine"] == "OpenVINO int8" and run.result["precision"] == "int8"
    answers = keras.models.load_model(run.model_path).predict(np.asarray(digits.validation.images), verbose=0)
    assert np.load(run.folder / "validation.npy") == pytest.approx(answers, abs=5e-3)
    assert run.result["val_accuracy"] > 0.9 and run.result["val_loss"] < 1.3 * few["val_loss"] + 0.05
    (ranges,) = kept.glob("*/ranges.json")
    before = ranges.read_bytes()
    (ranges.parent / "keys.bin").unlink()  # all rows are computed again, by the ranges that are kept
    monkeypatch.setattr(head_fit, "_calibration_images", lambda prepared: np.zeros((1, 32, 32, 1), np.uint8))
    again = train(digits, recipe, tmp_path / "again")
    assert ranges.read_bytes() == before and again.result is not None
    assert again.result["val_loss"] == run.result["val_loss"]
    exact = train(digits, recipe.but(precision="float32"), tmp_path / "exact").result
    asked = train(digits, recipe.but(deterministic=True), tmp_path / "same").result
    assert exact is not None and asked is not None
    assert not {"OpenVINO int8"} & {exact["engine"], asked["engine"]}, "a recipe's own precision is respected"


@pytest.mark.slow
def test_features_of_pixels_decoded_in_another_way_are_computed_anew(
    digits: Prepared, weights: Path, tmp_path: Path, counted: list[int]
) -> None:
    train(digits, Recipe.of(NET, weights=str(weights)), tmp_path / "one")
    first = sum(counted)
    newer = dataclasses.replace(digits, decoder={"housetrain": "99"})
    train(newer, Recipe.of(NET, weights=str(weights)), tmp_path / "two")
    assert sum(counted) == 2 * first


@pytest.mark.slow
def test_where_all_features_are_kept_no_engine_is_built(
    digits: Prepared, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(digits, Recipe.of(NET, weights=str(weights)), tmp_path / "one").result
    built: list[int] = []
    real = features.fastest_engine
    monkeypatch.setattr(features, "fastest_engine", lambda *args, **options: built.append(1) or real(*args, **options))
    second = train(digits, Recipe.of(NET, weights=str(weights), label_smoothing=0.1), tmp_path / "two").result
    assert not built and first is not None and second is not None
    assert (second["engine"], second["precision"]) == (first["engine"], first["precision"])
    train(digits, Recipe.of(NET, weights=str(weights), views=1), tmp_path / "three")
    assert built == [1], "one engine for all splits and views"


@pytest.mark.slow
def test_a_base_of_another_image_size_is_another_base(weights: Path, tmp_path: Path) -> None:
    """Two trainings in one process: the same weights, images of two sizes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    keep = np.flatnonzero(bunch.target < 2)[:120]
    for side in (4, 5):
        images = np.repeat(np.repeat(bunch.images[keep], side, axis=1), side, axis=2).astype(np.uint8)[..., None] * 15
        arrays = prepared_digits.prepared_of(images, bunch.target[keep].tolist(), ["0", "1"], tmp_path / f"{side}")
        run = train(arrays, Recipe.of(NET, weights=str(weights), precision="float32"), tmp_path / f"run{side}")
        by_keras = keras.models.load_model(run.model_path).predict(np.asarray(arrays.validation.images), verbose=0)
        assert np.load(run.folder / "validation.npy") == pytest.approx(by_keras, abs=5e-3)


def test_a_regularization_path_has_steps_not_epochs(digits: Prepared, weights: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    run = train(digits, Recipe.of(NET, weights=str(weights)), tmp_path / "run", callbacks=[Listener(events.append)])
    rows, result = run.history, run.result
    assert result is not None
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert not any("epoch" in name for row in rows for name in row)
    strengths = [row["l2"] for row in rows]
    assert strengths == sorted(strengths, reverse=True)
    best = min(rows, key=lambda row: row["val_loss"])
    assert (result["best_step"], result["l2"], result["steps_run"]) == (best["step"], best["l2"], len(rows))
    assert not {"best_epoch", "epochs_run"} & result.keys() and result["overfitting_epoch"] is None
    assert len(rows) - best["step"] <= 2, "it stops two strengths after the best"
    assert not [event for event in events if event["event"] == "epoch"]
    reported = [event["row"] for event in events if event["event"] == "progress" and "row" in event]
    assert reported == rows
    begin = next(event for event in events if event["event"] == "begin" and event["stage"] == "train")
    assert "epochs" not in begin and begin["steps"] == len(logistic.STRENGTHS)


@pytest.mark.parametrize("end", ["weak", "strong"])
def test_the_path_continues_where_the_best_strength_is_outside_the_usual_range(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    if end == "weak":  # separable without noise: less regularization is always better
        rows = rng.normal(size=(3000, 3)).astype(np.float16)
        labels, count = (rows.astype(np.float32).sum(axis=1) > 0).astype(np.int64), 2000
    else:  # one weak signal, 3000 times: the penalty is shared by all copies
        labels, count = rng.integers(0, 2, 400), 40
        signal = rng.normal(size=(400, 1)) + 0.3 * (labels[:, None] - 0.5)
        rows = signal.repeat(3000, axis=1).astype(np.float16)
    image = keras.Input((rows.shape[1],))
    whole = keras.Model(image, keras.layers.Dense(1, activation="sigmoid", name="probability")(image))
    frozen = head_fit.Frozen(
        whole, Examples(rows[:count], labels[:count]), Examples(rows[count:], labels[count:]), "float32", {}
    )
    monkeypatch.setattr(head_fit, "frozen_features", lambda *_: frozen)
    monkeypatch.setattr(head_fit, "MOST_IMAGES", 0)  # the features are not those of the prepared images: no folds
    events: list[Event] = []
    arrays = prepared_digits.digits(tmp_path / "arrays", classes=2, most=60, balance="none", enlarged=4)
    run = train(arrays, Recipe.of(NET), tmp_path / "run", callbacks=[Listener(events.append)])
    strengths, result = [row["l2"] for row in run.history], run.result
    assert result is not None and result["reason"] == head_fit.CHOSEN
    best = min(run.history, key=lambda row: row["val_loss"])
    assert (result["l2"], result["best_step"]) == (best["l2"], best["step"])
    assert len(set(strengths)) == len(strengths)
    assert any(strength > best["l2"] for strength in strengths)
    if end == "weak":
        assert best["l2"] < logistic.STRENGTHS[-1] and strengths == sorted(strengths, reverse=True)
    else:
        assert best["l2"] > logistic.STRENGTHS[0]
        assert sum(strength < best["l2"] for strength in strengths) >= 2
    steps = [event for event in events if event["event"] == "progress" and "row" in event]
    assert all(event["done"] <= event["total"] for event in steps)
    kernel, _ = keras.models.load_model(run.model_path).get_layer("probability").get_weights()
    assert np.isfinite(kernel).all() and np.abs(kernel).max() > 0


def test_a_time_limit_ends_the_path(digits: Prepared, weights: Path, tmp_path: Path) -> None:
    run = train(digits, Recipe.of(NET, weights=str(weights), time_limit_s=0.001), tmp_path / "run")
    assert run.result is not None and (run.result["reason"], run.result["steps_run"]) == ("time limit", 1)
    assert run.model_path.is_file()


def test_a_dense_head_resumes_exactly(digits: Prepared, weights: Path, tmp_path: Path) -> None:
    recipe = Recipe.of(
        NET, weights=str(weights), head="dense", epochs=4, dropout=0.3, batch_size=16, deterministic=True
    )
    whole = train(digits, recipe, tmp_path / "whole")
    train(digits, recipe, tmp_path / "parts", until=2)
    parts = train(digits, recipe, tmp_path / "parts")
    clock = {"seconds", "images_per_s"}
    rows = [[{k: v for k, v in row.items() if k not in clock} for row in run.history] for run in (whole, parts)]
    assert rows[0] == rows[1] and [row["epoch"] for row in rows[0]] == [1, 2, 3, 4]
    assert np.array_equal(np.load(whole.folder / "validation.npy"), np.load(parts.folder / "validation.npy"))


def test_a_stop_in_the_middle_costs_little(
    digits: Prepared, weights: Path, tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.of(NET, weights=str(weights), precision="float32")
    whole = train(digits, recipe, tmp_path / "whole")
    rows = sum(counted)
    counted.clear()
    (kept,) = (digits.folder / "features").iterdir()
    kept.rename(tmp_path / "aside")

    calls = []

    def stop(self: Signals) -> None:
        calls.append(1)
        if len(calls) > 6:
            raise Interrupted(signal.SIGINT)

    ends: list[tuple[str, str]] = []

    def listen(event: Event) -> None:
        if event["event"] == "end":
            ends.append((event["stage"], event["state"]))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Signals, "check", stop)
        train(digits, recipe, tmp_path / "stopped", callbacks=[Listener(listen)])
    assert ends == [("features", "stopped")]
    done = sum(counted)
    assert 0 < done < rows
    with (kept / "rows.f16").open("ab") as file:  # what a kill in the middle of a write leaves
        file.write(b"half a row")
    with (kept / "keys.bin").open("ab") as file:
        file.write(b"half")
    again = train(digits, recipe, tmp_path / "again")
    assert sum(counted) == rows
    assert np.array_equal(np.load(whole.folder / "validation.npy"), np.load(again.folder / "validation.npy"))


def test_weights_that_are_not_there_or_of_another_net_are_one_line(
    digits: Prepared, weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"The weights file does not exist.*--weights"):
        train(digits, Recipe.of(NET, weights=str(tmp_path / "none.weights.h5")), tmp_path / "a")
    with pytest.raises(ModelError, match=r"do not match the model.*ResNet50"):
        train(digits, Recipe.of("resnet50", weights=str(weights)), tmp_path / "b")
    with pytest.raises(RecipeError, match="no pretrained weights"):
        Recipe.of("cnn", weights="imagenet")
    with pytest.raises(RecipeError, match="views: with weights none"):
        Recipe.of("xception", weights="none", views=2)


def test_only_the_head_is_trained_and_only_the_top_is_unfrozen(digits: Prepared, weights: Path) -> None:
    frozen = build(Recipe.of(NET, weights=str(weights)), spec=digits.spec, classes=digits.classes)
    assert [weight.path for weight in frozen.trainable_weights] == ["probability/kernel", "probability/bias"]
    open_ = build(Recipe.of(NET, weights=str(weights), unfreeze=8), spec=digits.spec, classes=digits.classes)
    layers = backbones.base_layers(open_)
    trained = [layer for layer in layers if layer.trainable_weights]
    assert trained and all(layer in layers[-8:] for layer in trained)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in trained)


def test_fine_tuning_moves_the_top_and_no_statistic_of_batch_norm(
    digits: Prepared, weights: Path, tmp_path: Path
) -> None:
    first = train(digits, Recipe.of(NET, weights=str(weights)), tmp_path / "first")
    tuned = finetune(first, layers=20, epochs=2, learning_rate=1e-3, prepared=digits, precision="float32")
    assert tuned.folder == tmp_path / "first-finetuned" and tuned.complete
    assert Run.open(first.folder).complete, "the first run stays"
    before, after = (keras.models.load_model(run.model_path) for run in (first, tuned))
    moved = []
    for old in backbones.base_layers(before):
        new = after.get_layer(old.name)
        same = all(np.array_equal(a, b) for a, b in zip(old.get_weights(), new.get_weights(), strict=True))
        if isinstance(old, keras.layers.BatchNormalization):
            assert same, f"{old.name}: neither statistics nor scales may move"
        elif not same:
            moved.append(old.name)
    top = [layer.name for layer in backbones.base_layers(before)][-20:]
    assert moved and set(moved) <= set(top)
    result, rows = tuned.result, tuned.history
    assert result is not None and len(rows) == 2
    assert result["val_loss"] <= min(row["val_loss"] for row in rows), "an average with the first run may be better"
    by_keras = after.predict(np.asarray(digits.validation.images), verbose=0)
    assert np.load(tuned.folder / "validation.npy") == pytest.approx(by_keras, abs=1e-3)
    assert evaluate(tuned, prepared=digits).n == len(digits.test.labels)
    old, new = (Novelty.of_run(run.folder) for run in (first, tuned))
    assert old is not None and new is not None and new.width == old.width
    assert not np.array_equal(new.features, old.features), "of the tuned model"
    with Predictor.load(tuned) as predictor:
        marks = predictor.answers(predictor.outputs(np.asarray(digits.validation.images))).novel
    assert marks is not None and np.mean(marks) <= 0.05, "at most 5 % of the images that set the threshold"


@pytest.mark.slow
def test_fine_tuning_resumes_bit_for_bit(digits: Prepared, weights: Path, tmp_path: Path) -> None:
    first = train(digits, Recipe.of(NET, weights=str(weights)), tmp_path / "first")
    settings = {"optimizer": "adamw", "learning_rate": 1e-3, "schedule": "cosine", "flip": "none"}
    recipe = finetuned_recipe(first, layers=1000, epochs=2, deterministic=True, **settings)
    whole = train(digits, recipe, tmp_path / "whole")
    paused = train(digits, recipe, tmp_path / "resumed", until=1)
    assert not paused.complete
    resumed = train(digits, recipe, tmp_path / "resumed")
    one, other = (keras.models.load_model(run.model_path).get_weights() for run in (whole, resumed))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert np.array_equal(np.load(whole.folder / "validation.npy"), np.load(resumed.folder / "validation.npy"))


def test_only_pretrained_runs_are_fine_tuned(tmp_path: Path) -> None:
    digits = prepared_digits.digits(tmp_path / "arrays", classes=2, most=120)
    run = train(digits, Recipe.of("mlp", epochs=1), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"pretrained model can be fine-tuned.*mlp"):
        finetune(run, prepared=digits)


@pytest.mark.slow
def test_xception_tells_cats_from_dogs(photos: Path, xception_weights: Path, tmp_path: Path) -> None:
    recipe = Recipe.of("xception", weights=str(xception_weights))
    outcome = workflow.run(photos, tmp_path / "run", recipe=recipe, prepared=tmp_path / "arrays")
    assert outcome.evaluation.n >= 60 and outcome.evaluation.accuracy >= 0.93
    assert outcome.prepared.spec.shape == (150, 150, 3)
    exact = train(outcome.prepared, recipe.but(precision="float32"), tmp_path / "exact")
    low, high = evaluate(exact, prepared=outcome.prepared).accuracy_interval
    assert low <= outcome.evaluation.accuracy <= high, "bfloat16 features cost no accuracy"
