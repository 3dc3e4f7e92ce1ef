"""Every page, drawn: what it says with nothing there, with something there, and when something is wrong."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from studio.conftest import Page, texts, write_recipe

from housetrain.studio import jobs, looking
from housetrain.studio.settings import Settings
from housetrain.system import store
from housetrain.training.run import Run

VIEWS = ("data", "train", "compare", "test", "predict", "export")


def wait(job: jobs.Job | None, seconds: float = 60) -> jobs.Job:
    assert job is not None
    until = time.monotonic() + seconds
    while job.active:
        assert time.monotonic() < until, "it never ends"
        time.sleep(0.05)
    return job


@pytest.mark.parametrize("name", VIEWS)
def test_an_empty_working_folder_says_what_to_do(name: str, page: Page, work: Path) -> None:
    test = page(name)
    assert not test.exception
    said = texts(test)
    assert "ht-empty" in said, "no empty state"
    assert any(button.label for button in test.button), "nothing to click on"
    assert not list(work.glob("runs")) and not list(work.glob("prepared")), "looking wrote something"


def test_the_page_never_imports_keras(work: Path, finished: Run) -> None:
    """All pages are drawn in one process; nothing of TensorFlow may be in it afterwards."""
    script = f"""
import sys
from streamlit.testing.v1 import AppTest
for name in {VIEWS!r}:
    page = f"from housetrain.studio.views import {{name}}\\n{{name}}.show()"
    test = AppTest.from_string(page, default_timeout=30).run()
    assert not test.exception, (name, test.exception)
from housetrain.studio import desk
desk.close_all()
heavy = [name for name in ("tensorflow", "keras", "jax", "torch", "tensorboard", "matplotlib") if name in sys.modules]
print("HEAVY", heavy)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=work, timeout=120)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr[-2000:]


# ------------------------------------------------------------------------------------------------- data
def test_data_looks_at_a_folder_in_a_process_and_shows_what_it_found(page: Page, pets: Path) -> None:
    (pets / "cats" / "broken.jpg").write_bytes(b"")
    test = page("data", state={"folder": "pets"})
    assert not test.exception
    wait(looking.job_of(pets))
    test.run()
    assert not test.exception
    said = texts(test)
    assert "images 61" in said and "classes 2" in said
    assert any("empty file" in one.label.replace("\\", "") for one in test.expander)
    assert any(button.label == "Prepare" for button in test.button)


def test_data_prepares_what_the_form_says(page: Page, pets: Path, work: Path) -> None:
    page("data", state={"folder": "pets"})
    wait(looking.job_of(pets))
    test = page("data", state={"folder": "pets", "size": 28, "balance": "trim", "validation": 20})
    [button] = [one for one in test.button if one.label == "Prepare"]
    button.click().run()
    job = wait(jobs.newest(Settings.of().jobs, verb="prepare"))
    assert job.state == "done", job.error
    [manifest] = (work / "prepared").glob("*/prepared.json")
    made = json.loads(manifest.read_text())
    assert (made["spec"]["height"], made["spec"]["color_mode"]) == (28, "grayscale")
    from housetrain.data.prepare import Prepared

    prepared = Prepared.open(manifest.parent)
    assert prepared.balance == "trim" and prepared.split.options["validation_split"] == 0.2
    test = page("data", state={"folder": "pets", "size": 28, "balance": "trim", "validation": 20})
    assert "Ready:" in texts(test)


@pytest.mark.parametrize("typed", ["..", "/etc", "../..", "pets/../..", "\0"])
def test_data_opens_nothing_outside_the_data_root(typed: str, page: Page, pets: Path) -> None:
    test = page("data", state={"folder": typed})
    assert not test.exception
    assert len(test.error) == 1 and "The studio may not open" in test.error[0].value
    assert not list(Settings.of().jobs.glob("*")), "a process was started"


def test_data_says_why_a_folder_cannot_be_used(page: Page, work: Path) -> None:
    (work / "odd" / "only").mkdir(parents=True)
    test = page("data", state={"folder": "odd"})
    assert not test.exception
    wait(looking.job_of(work / "odd"))
    test = page("data", state={"folder": "odd"})
    assert len(test.error) == 1 and "there are no images" in test.error[0].value.replace("\\", "")
    assert any(button.label == "Check again" for button in test.button)


# ------------------------------------------------------------------------------------------------- train
def test_train_shows_the_numbers_of_the_run_folder(page: Page, finished: Run) -> None:
    test = page("train", state={"view": "watch"})
    assert not test.exception
    best = min(finished.history, key=lambda row: row["val_loss"])
    said = texts(test)
    assert f"validation accuracy {best['val_accuracy'] * 100:.1f} %" in said
    assert f"validation loss {best['val_loss']:.4f}" in said
    assert "Finished: 6 of 6 epochs" in said
    assert [button.label for button in test.button if button.label == "Test"]


def test_train_says_in_one_sentence_what_does_not_fit(page: Page, finished: Run) -> None:
    test = page("train", state={"view": "new", "recipe-cnn-conv": 5})
    assert not test.exception
    assert len(test.error) == 1 and "smaller than" in test.error[0].value.replace("\\", "")
    assert not [button for button in test.button if button.label == "Train"]


def test_train_says_what_contradicts_itself(page: Page, finished: Run) -> None:
    test = page("train", state={"view": "new", "recipe-cnn-weight_decay": 0.1})
    assert len(test.error) == 1 and "adam has no weight decay" in test.error[0].value.replace("\\", "")


@pytest.mark.parametrize(
    ("files", "said", "offers"),
    [
        ({}, "killed", "Resume"),
        ({"progress.json": {"phase": "stopped", "epoch": 7}}, "Stopped.", "Resume"),
        ({"progress.json": {"phase": "train", "epoch": 7, "pid": 999999}}, "killed", "Resume"),
        ({"failed.json": {"reason": "the loss is not a number"}}, "the loss is not a number", "Resume"),
    ],
    ids=["no note", "stopped", "killed", "failed"],
)
def test_train_tells_a_stopped_training_from_a_killed_one(
    files: dict[str, dict[str, object]], said: str, offers: str, page: Page, finished: Run
) -> None:
    (finished.folder / "result.json").unlink()
    for name, value in files.items():
        store.write_json_atomic(finished.folder / name, value)
    test = page("train", state={"view": "watch"})
    assert not test.exception
    assert said in texts(test)
    assert [button for button in test.button if button.label == offers]


def test_train_finds_a_training_again_and_stops_it(page: Page, finished: Run, work: Path) -> None:
    """A process that holds the run's lock, as a training started anywhere does; the page stops it by that alone."""
    (finished.folder / "result.json").unlink()
    script = (
        "import sys, time; from pathlib import Path; from housetrain.system.lock import Lock\n"
        "with Lock(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    try: time.sleep(60)\n"
        "    except KeyboardInterrupt: print('asked to stop', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(finished.folder), "housetrain"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        progress = {"phase": "train", "epoch": 7, "step": 3, "steps": 10, "images_per_s": 1234.0, "eta_s": 42.0}
        store.write_json_atomic(finished.folder / "progress.json", progress)
        for _ in range(2):  # a second tab sees the same
            test = page("train")
            assert not test.exception
            said = texts(test)
            assert "speed 1,234 /s" in said and "time left 42 s" in said
            assert not [button for button in test.button if button.label == "Resume"]
        [stop] = [button for button in test.button if button.label == "Stop"]
        stop.click().run()
        assert process.stdout.readline() == "asked to stop\n"
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_run_that_is_begun_is_shown_before_it_has_a_name(page: Page, finished: Run, work: Path) -> None:
    test = page("train", state={"view": "watch", "begun": "not-there-yet"})
    assert not test.exception


def test_train_starts_the_recipe_that_the_form_holds(
    page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []

    def start(folder: Path, words: list[object], **options: object) -> None:
        begun.append(list(map(str, words)))

    monkeypatch.setattr(jobs, "start", start)
    state = {
        "view": "new",
        "recipe-cnn-conv": 1,
        "recipe-cnn-nodes": 16,
        "recipe-cnn-epochs": 4,
        "recipe-cnn-learning_rate": 0.002,
        "recipe-cnn-batch_size": 64,
        "recipe-cnn-flip": "horizontal",
        "recipe-cnn-time_limit_s": 2.0,
    }
    test = page("train", state=state)
    [button] = [one for one in test.button if one.label == "Train"]
    button.click().run()
    assert not test.exception
    [words] = begun
    assert words[0] == "train" and words[1].endswith("pets-12x12-grayscale")
    recipe = json.loads(Path(words[words.index("--recipe") + 1]).read_text())
    asked = {"conv": 1, "nodes": 16, "epochs": 4, "learning_rate": 0.002, "batch_size": 64, "time_limit_s": 120.0}
    assert {name: recipe[name] for name in asked} == asked and recipe["flip"] == "horizontal"


# ------------------------------------------------------------------------------------------------- test
def test_test_shows_the_evaluation_of_the_run_folder(page: Page, finished: Run) -> None:
    test = page("test")
    assert not test.exception
    kept = json.loads((finished.folder / "evaluation" / "evaluation.json").read_text())
    low, high = kept["accuracy_interval"]
    said = texts(test)
    assert f"right {kept['accuracy'] * 100:.1f} %" in said
    assert f"{low * 100:.1f} – {high * 100:.1f} %" in said
    assert "data:image" in said, "no image of a mistake"


def test_test_asks_before_it_opens_and_counts(page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[list[str]] = []

    def start(folder: Path, words: list[object], **options: object) -> None:
        begun.append(list(map(str, words)))

    monkeypatch.setattr(jobs, "start", start)
    for item in (finished.folder / "evaluation").iterdir():
        item.unlink()
    store.append_line(finished.folder / "evaluations.jsonl", {"weights": "other"})
    test = page("test")
    assert "Opened 1 times so far" in texts(test)
    [button] = [one for one in test.button if one.label.startswith("Open the test")]
    button.click().run()
    assert not begun, "it was opened without asking"
    assert "opening number **2**" in texts(test)
    assert [one for one in test.button if one.label == "Open it"]  # what that does, the browser's story tells


def test_test_shows_what_was_damaged_in_one_sentence(page: Page, finished: Run) -> None:
    (finished.folder / "evaluation" / "predictions.csv").write_text("torn")
    test = page("test")
    assert not test.exception
    assert len(test.error) == 1 and "predictions.csv" in test.error[0].value.replace("\\", "")


# ------------------------------------------------------------------------------------------------- export, predict
def test_export_says_that_there_is_no_bundle(page: Page, finished: Run) -> None:
    test = page("export")
    assert not test.exception
    assert [button for button in test.button if button.label == "Export the bundle"]


def test_export_shows_every_form_of_the_bundle(page: Page, finished: Run) -> None:
    models = [
        {"format": "openvino", "file": "model.xml", "precision": "bf16", "tolerance": 0.03, "files": ["model.xml"]},
        {"format": "keras", "file": "model.keras", "precision": "fp32", "tolerance": 0.002, "files": ["model.keras"]},
    ]
    sha256 = store.file_sha256(finished.folder / "model.keras")
    about = {
        "layout_version": 3, "models": models, "parity": {"openvino": {"agreement": 1.0}},
        "run": {"model_sha256": sha256},
        "spec": finished.spec.to_json(), "metrics": {"test": None}, "keras": "3.15.1", "golden": "validation",
    }  # fmt: skip
    with store.commit_folder(finished.folder, "bundle") as inside:
        store.write_json_atomic(inside / "bundle.json", about)
    test = page("export")
    assert not test.exception
    assert "OpenVINO, Keras" in [metric.value for metric in test.metric]
    shown = test.dataframe[0].value
    assert list(shown["format"]) == ["openvino bf16", "keras fp32"] and list(shown["tolerance"]) == [
        "3e-02",
        "2e-03",
    ]


def test_predict_refuses_paths_outside(page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from housetrain.studio.views import predict

    monkeypatch.setattr(predict, "_desk", lambda run: None)
    test = page("predict", state={"from": "path"})
    assert not test.exception
    test.text_input[0].set_value("/etc/passwd").run()
    assert len(test.error) == 1 and "The studio may not open" in test.error[0].value


def test_a_recipe_of_every_kind_can_be_shown(page: Page, finished: Run) -> None:
    write_recipe(finished.folder, optimizer="adamw", weight_decay=0.1)
    assert not page("train", state={"view": "watch"}).exception


def test_export_shows_how_a_format_compares_and_makes_another(
    page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from housetrain.inference import verify
    from housetrain.studio.views import export

    compared = {"precision": "int8", "images": 512, "kind": "validation", "difference": 0.012, "agreement": 0.998}
    about = {"parity": {"litert": {**compared, "accuracy": 0.75, "keras_accuracy": 0.76}}}
    folder = finished.folder / "exports" / "litert-int8"
    with store.commit_folder(folder.parent, folder.name) as inside:
        store.write_json_atomic(inside / verify.ABOUT, about)
        (inside / "model.tflite").write_bytes(b"x" * 12_300)
    kept = {"models": [{"format": "keras", "precision": "fp32", "tolerance": 0.002}], "spec": finished.spec.to_json()}
    with store.commit_folder(finished.folder, "bundle") as inside:
        store.write_json_atomic(inside / verify.ABOUT, kept)
    monkeypatch.setattr(export, "_is_of", lambda about, run: True)
    begun: list[list[str]] = []

    def start(folder: Path, words: list[object], **options: object) -> None:
        begun.append(list(map(str, words)))

    monkeypatch.setattr(jobs, "start", start)
    test = page("export", state={"export-format": "litert"})
    assert not test.exception
    [row] = [table.value for table in test.dataframe if "of Keras" in table.value]
    assert row.iloc[0].to_dict() == {
        "format": "litert int8",
        "kB": 12.3,
        "largest difference": "0.012",
        "same prediction as Keras": "99.8%",
        "accuracy": "75.0%",
        "of Keras": "76.0%",
        "compared on": "512 validation images",
    }
    [button] = [one for one in test.button if one.label == "Export litert fp32"]
    button.click().run()
    assert begun == [["export", str(finished.folder), "--format", "litert", "--precision", "fp32"]]


def test_predict_shows_where_the_model_looked(page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from housetrain.studio.views import predict

    photo = next((Path.cwd() / "pets" / "cats").iterdir())
    answer = {"source": str(photo), "label": "cats", "probability": 0.9, "margin": 0.8, "seen": "train", "error": None}
    answer |= {
        "top": [{"label": "cats", "probability": 0.9}],
        "thumbnail": base64.b64encode(photo.read_bytes()).decode(),
        "name": photo.name,
        "kept": str(photo),
    }
    monkeypatch.setattr(predict, "_desk", lambda run: None)
    monkeypatch.setattr(predict, "_ask", lambda: [(photo.name, photo)])
    monkeypatch.setattr(predict, "_predict", lambda run, clerk, photos: [answer])
    begun: list[list[str]] = []

    def start(folder: Path, words: list[object], **options: object) -> None:
        begun.append(list(map(str, words)))

    monkeypatch.setattr(jobs, "start", start)
    test = page("predict")
    assert not test.exception
    assert "in the training split" in texts(test)
    [button] = [one for one in test.button if one.label == "Explain"]
    button.click().run()
    assert begun[0][:3] == ["explain", str(finished.folder), str(photo)]
