"""The Dockerfile of docs/serve.md: its steps, in a plain virtual environment, serve a bundle without TensorFlow."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from small_run import Tiny

import housetrain as ht

ROOT = Path(__file__).resolve().parents[2]


def dockerfile() -> dict[str, list[str]]:
    """Return instruction -> its arguments, of the Dockerfile in the page."""
    found = re.search(r"^```dockerfile\n(.*?)^```", (ROOT / "docs" / "serve.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    steps: dict[str, list[str]] = {}
    for line in found[1].splitlines():
        name, _, rest = line.partition(" ")
        steps.setdefault(name, []).append(rest)
    return steps


def test_the_image_is_slim_and_its_user_has_no_rights() -> None:
    steps = dockerfile()
    assert steps["FROM"][0].endswith("-slim") and steps["USER"] == ["serve"]
    assert not any("tensorflow" in step for step in steps["RUN"])


@pytest.mark.slow
def test_its_steps_serve_a_bundle(tiny: Tiny, tmp_path: Path) -> None:
    """Installs from the package index; needs a network and a few minutes."""
    steps = dockerfile()
    source = shutil.copytree(ROOT, tmp_path / "src", ignore=shutil.ignore_patterns(".venv", ".git", "runs", "prepared"))
    bundle = shutil.copytree(tiny.run / "bundle", tmp_path / "bundle")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    environment = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{environment['PATH']}"
    (install,) = (step for step in steps["RUN"] if step.startswith("pip "))
    subprocess.run(install.replace("/src", str(source)), shell=True, check=True, env=environment, cwd=tmp_path)
    listed = subprocess.run(["pip", "list"], capture_output=True, text=True, check=True, env=environment).stdout.lower()
    assert "fastapi" in listed and not re.search(r"^(tensorflow|keras|torch|jax)", listed, re.MULTILINE)

    (command,) = (json.loads(step) for step in steps["CMD"])
    words = [word.replace("/bundle", str(bundle)) for word in command] + ["--port", "18123"]
    environment["HOUSETRAIN_SERVE_TOKEN"] = "a secret of ours"
    path = next(tiny.images.rglob("*.png"))
    with subprocess.Popen(words, env=environment, cwd=tmp_path) as server:
        try:
            request = urllib.request.Request("http://127.0.0.1:18123/v1/predict", path.read_bytes())
            request.add_header("Authorization", "Bearer a secret of ours")
            for _ in range(300):
                try:
                    answer = json.load(urllib.request.urlopen(request))
                    break
                except urllib.error.URLError:
                    assert server.poll() is None
                    time.sleep(0.2)
        finally:
            server.terminate()
        assert server.wait(60) == 0
    found, wanted = answer["predictions"][0], next(ht.predict(tiny.run, path))
    assert found["label"] == wanted.label and found["probability"] == pytest.approx(wanted.probability, abs=1e-6)
