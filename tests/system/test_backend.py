"""Keras comes in without its backend's start-up notes, and everything else that is said comes through."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from housetrain.errors import MissingExtra, RecipeError
from housetrain.system import backend


def test_start_up_notes_are_held_back_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    with backend.without_start_up_notes():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n")
        os.write(2, b"I0000 00:00:1795263621.160171    4515 port.cc:153] oneDNN custom operations are on.\n")
        os.write(2, b"E0000 00:00:1795263621.160171    4515 cuda.cc:1] the driver is too old\n")
        os.write(2, b"Something a person should read\n")
    said = capfd.readouterr().err
    assert (
        said
        == "E0000 00:00:1795263621.160171    4515 cuda.cc:1] the driver is too old\nSomething a person should read\n"
    )


def test_a_missing_keras_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingExtra, match=r"Training .*requires .* pip install \"keras>="):
        backend.load_keras("training")


def test_only_code_that_gets_a_model_or_trains_imports_keras_itself() -> None:
    """Anything else may be first to import it, and TensorFlow then prints its start-up notes."""
    package = Path(backend.__file__).parents[1]
    bare = set()
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"^ +import (keras|tensorflow)\b", text, re.MULTILINE) and not re.search(r"load_\w+\(", text):
            bare.add(path.relative_to(package))
    folders = {path.parts[0] for path in bare if path.parts[0] in ("training", "kernels")}
    others = {path.as_posix() for path in bare if path.parts[0] not in folders}
    assert (folders, others) == (
        {"training", "kernels"},
        {"inference/formats/litert.py", "inference/formats/saved_model.py"},
    )


def test_importing_keras_says_nothing_and_keeps_to_the_share_of_the_processor() -> None:
    code = (
        "import os; from housetrain.system import backend; backend.cores = lambda: 3; "
        "print(backend.load_keras('a test').__version__, os.environ['TF_NUM_INTRAOP_THREADS'], "
        "os.environ['TF_NUM_INTEROP_THREADS'])"
    )
    environment = {**os.environ, "TF_NUM_INTEROP_THREADS": "7"}  # a person's own setting is kept
    environment.pop("TF_NUM_INTRAOP_THREADS", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    version, *threads = done.stdout.split()
    assert version.startswith("3.") and threads == ["3", "7"] and done.stderr == ""


def test_openvino_comes_without_what_it_would_tell_its_maker() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    code = (
        "import sys; from housetrain.system.backend import load_openvino as load;"
        "load('a test'); print([name for name in sys.modules if 'telemetry' in name or 'tools.ovc' in name]);"
        "module = load('a test', converting=True);"
        "print(callable(module.convert_model), 'openvino_telemetry' in sys.modules);"
        "import openvino_telemetry"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True False"]


def test_a_missing_openvino_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"Predicting .*requires .* pip install \"openvino>="):
        backend.load_openvino("predicting")


def test_a_notebooks_plot_backend_that_is_not_installed_does_not_end_the_import(tmp_path: Path) -> None:
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib" / "__init__.py").write_text(
        "import os\nif 'MPLBACKEND' in os.environ:\n    raise ValueError('not a valid value for backend')\n"
    )
    (tmp_path / "matplotlib" / "pyplot.py").touch()
    code = (
        "from housetrain.system import backend; backend.load_keras('testing')\n"
        "import os, sys; print('matplotlib' in sys.modules, os.environ['MPLBACKEND'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "MPLBACKEND": "module://not_installed.backend_inline"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout.split() == ["True", "module://not_installed.backend_inline"], done.stderr


def test_the_settings_file_of_another_keras_has_no_say(tmp_path: Path) -> None:
    (tmp_path / ".keras").mkdir()
    settings = tmp_path / ".keras/keras.json"
    script = (
        "from housetrain.system.backend import load_keras\n"
        "keras = load_keras('a test')\n"
        "from keras.src.backend import config\n"
        "print(keras.config.backend(), keras.config.floatx(), keras.config.image_data_format(), config.keras_home())\n"
    )
    for text in ('{"backend": "theano", "floatx": "float16", "image_data_format": "channels_first"}', "[1]", ""):
        settings.write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["tensorflow", "float32", "channels_last", str(tmp_path / ".keras")]
        assert settings.read_text() == text


class _Config:
    """What `limit_gpu_memory` calls of TensorFlow, on a machine with two GPUs."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.config = self.experimental = self

    def list_physical_devices(self, kind: str) -> list[str]:
        return [f"{kind}:0", f"{kind}:1"]

    def set_memory_growth(self, gpu: str, on: bool) -> None:
        self.calls.append((gpu, on))

    def LogicalDeviceConfiguration(self, memory_limit: int) -> int:  # noqa: N802 - TensorFlow's name
        return memory_limit

    def set_logical_device_configuration(self, gpu: str, limits: list[int]) -> None:
        self.calls.append((gpu, *limits))


@pytest.mark.parametrize(
    ("text", "calls"),
    [("", []), ("growth", [("GPU:0", True), ("GPU:1", True)]), ("4096", [("GPU:0", 4096), ("GPU:1", 4096)])],
)
def test_the_memory_of_gpus_can_be_limited(text: str, calls: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    tensorflow = _Config()
    monkeypatch.setenv(backend.GPU_MEMORY, text)
    backend.limit_gpu_memory(tensorflow)
    assert tensorflow.calls == calls
    monkeypatch.setenv(backend.GPU_MEMORY, "4 GB")
    with pytest.raises(RecipeError, match="MiB, such as 4096"):
        backend.limit_gpu_memory(tensorflow)
