"""Every verb: a wrong argument gets one line and exit code 2; help is quick and has an example."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from noise_folders import folder_of
from typer.main import get_command

from housetrain.cli.app import app
from housetrain.training import interrupt

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "x", "--model", "cnnn"), "did you mean cnn?"),
        (("run", "x", "--set", "learningrate=1"), "learning_rate"),
        (("run", "x", "--set", "epochs"), "--set NAME=VALUE"),
        (("run", "x", "--time-limit", "soon"), "10m"),
        (("run", "x", "--learning-rate", "-1", "--epochs", "3", "--set", "ema=2"), "2 problems"),
        (("run", "x", "--recipe", "missing.json"), "missing.json"),
        (("prepare", "x", "--color-mode", "green"), "grayscale, rgb"),
        (("show", "x", "--sizes", "50,big"), "50,100"),
        (("train", "x"), "prepare"),
        (("evaluate", "x"), "run folder"),
        (("predict", "x", "nothing-here.jpg"), "nothing-here.jpg"),
        (("export", "x"), "run folder"),
        (("export", "x", "--format", "tflite"), "Do: --format litert"),
        (("export", "x", "--format", "zip"), "keras, litert, onnx, openvino, saved-model"),
        (("export", "x", "--precision", "fp8"), "fp32, bf16, fp16, int8"),
        (("export", "x", "--format", "onnx", "--precision", "fp16"), "does not support fp16"),
        (("benchmark", "x"), "run folder"),
        (("explain", "x", "photo.jpg"), "run folder"),
        (("sample", "cifar", "x"), "digits"),
    ],
)
def test_wrong_words_get_one_line_that_helps(words: tuple[str, ...], said: str, call: Call) -> None:
    code, _, err = call(*words)
    assert code == 2
    assert said in err and "Traceback" not in err
    assert len([line for line in err.splitlines() if line.strip()]) == 1


def test_an_image_that_cannot_be_read_is_a_sentence(call: Call, tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html></html>")
    code, _, err = call("show", tmp_path / "page.jpg")
    assert code == 2 and err.startswith("Error: An image cannot be read: ") and "page.jpg" in err


def test_help_is_quick_and_plain(call: Call) -> None:
    code, out, _ = call("--help")
    assert code == 0
    assert "Start here:" in out
    listed = out[out.index("Commands:") : out.index("Start here:")]
    assert "..." not in listed and listed.rstrip().endswith(".")  # whole sentences
    assert call("--version")[1].startswith("housetrain ")


def verbs() -> dict[str, object]:
    command = get_command(app)
    return dict(getattr(command, "commands", {}))


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_has_help_with_an_example(verb: str, call: Call) -> None:
    code, out, _ = call(verb, "--help")
    flat = " ".join(out.split())
    assert code == 0
    assert re.search(rf"Examples?: housetrain {verb} ", flat), flat[-200:]


def test_the_examples_in_help_are_valid_commands() -> None:
    commands = verbs()
    for verb, command in commands.items():
        for example in re.split(r"·|\. ", str(getattr(command, "epilog", "")).partition("Example")[2]):
            words = example.partition("housetrain ")[2].split()
            if not words:
                continue
            assert words[0] == verb
            named = commands[words[0]].make_context(verb, words[1:], resilient_parsing=False)  # type: ignore[attr-defined]
            named.close()


READING = ("check", "leaderboard", "compare", "evaluate", "predict", "classify", "benchmark", "explain", "doctor")


@pytest.mark.parametrize("verb", READING)
def test_every_reading_verb_prints_json(verb: str) -> None:
    options = {name for one in verbs()[verb].params for name in one.opts}  # type: ignore[attr-defined]
    assert "--json" in options


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv = ['housetrain', *sys.argv[1:]]; from housetrain.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words], env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("housetrain pre", {"prepare", "predict"}), ("housetrain run x --model efficientnet-", {"efficientnet-lite0"})],
)
def test_the_shell_completes_verbs_and_models(typed: str, offered: set[str]) -> None:
    done = run(_HOUSETRAIN_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(typed.split()) - 1))
    assert offered <= set(done.stdout.split()), done.stderr


def test_sigterm_ends_any_verb_with_143(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import housetrain

    def stopped(*args: object, **options: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(housetrain, "scan", stopped)
    monkeypatch.setattr(interrupt, "exit_now", lambda code: None)  # would end this process
    code, _, err = call("check", folder_of(tmp_path / "images", cats=2, dogs=2))
    assert code == 143
    assert "rerun the same command to resume" in err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c_says_how_to_resume(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import housetrain

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(housetrain, "scan", interrupted)
    code, _, err = call("check", folder_of(tmp_path / "images", cats=2, dogs=2))
    assert code == 130
    assert "rerun the same command to resume" in err


def test_the_answer_to_ctrl_c_comes_before_what_it_ended() -> None:
    code = (
        "import os, signal, sys, housetrain; from housetrain.cli import main; "
        "housetrain.scan = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT); "
        "sys.argv = ['housetrain', 'check', 'images']; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130
    first, second = ended.stderr.splitlines()
    assert first.startswith("Stopping ...") and second.startswith("Error: Interrupted.")


def test_an_error_that_a_library_makes_of_ctrl_c_is_an_interruption(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import housetrain

    def converted(*args: object, **options: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("the conversion has failed") from None

    monkeypatch.setattr(housetrain, "scan", converted)
    monkeypatch.setattr(interrupt, "exit_now", lambda code: None)  # would end this process
    code, _, err = call("check", folder_of(tmp_path / "images", cats=2, dogs=2))
    assert code == 130 and "Traceback" not in err
    assert "rerun the same command to resume" in err


@pytest.mark.parametrize("verb", ["train", "compare", "predict"])
def test_a_usage_line_has_no_braces(verb: str, call: Call) -> None:
    _, out, _ = call(verb, "--help")
    usage = out.partition("\n")[0]
    assert usage.startswith("Usage:") and usage.endswith(("PREPARED", "RUN", "RUN IMAGE...")) and "{" not in usage
