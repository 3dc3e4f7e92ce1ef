"""The GitHub workflows: their form, and that what they run is there. They run nowhere else before they are public."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
TOP = {"name", "on", "permissions", "concurrency", "env", "defaults", "jobs", "run-name"}
JOB = {"name", "needs", "if", "runs-on", "environment", "permissions", "timeout-minutes", "strategy", "steps", "env"}
STEP = {"name", "id", "if", "uses", "with", "run", "env", "shell", "working-directory"}
CONTEXTS = {"github", "matrix", "env", "runner", "needs", "steps"}
RUNNERS = {"ubuntu-latest", "macos-latest", "windows-latest"}


class Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would keep the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is there twice: {keys}"
        return super().construct_mapping(node, deep=deep)


# In YAML 1.1 `on` is a boolean; GitHub reads it as a word.
Strict.yaml_implicit_resolvers = {
    letter: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool"]
    for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path) -> dict[str, Any]:
    value = yaml.load(path.read_text(encoding="utf-8"), Loader=Strict)
    assert isinstance(value, dict)
    return value


def steps() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    return [
        (f"{path.name}: {name}", job, step)
        for path in WORKFLOWS
        for name, job in read(path)["jobs"].items()
        for step in job["steps"]
    ]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_the_form_that_github_reads(path: Path) -> None:
    workflow = read(path)
    assert {"on", "jobs", "permissions"} <= set(workflow) <= TOP
    assert set(workflow["permissions"].values()) <= {"read", "none"}, "a job that writes says so itself"
    assert set(workflow["on"]) <= {"push", "pull_request", "workflow_dispatch", "schedule"}
    for name, job in workflow["jobs"].items():
        assert re.fullmatch(r"[A-Za-z_][\w-]*", name) and {"runs-on", "steps", "timeout-minutes"} <= set(job) <= JOB
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) < set(workflow["jobs"])
        axes = job.get("strategy", {}).get("matrix", {})
        assert set(axes.get("os", [job["runs-on"]])) <= RUNNERS
        used = set(re.findall(r"matrix\.(\w+)", str(job)))
        assert used == set(axes), f"{name}: the matrix has other axes than the steps use"


def test_a_step_runs_or_uses_one_thing_and_no_text_of_strangers() -> None:
    assert len(steps()) > 10
    for where, _, step in steps():
        assert set(step) <= STEP and ("run" in step) != ("uses" in step), where
        for expression in re.findall(r"\$\{\{(.*?)\}\}", str(step)):
            context = expression.strip().partition(".")[0]
            assert context in CONTEXTS, f"{where}: {expression}"
            assert "event" not in expression or "run" not in step, f"{where}: a title could run as a command"
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+|[0-9a-f]{40})", step["uses"]), where
            assert set(step) <= {"name", "id", "uses", "with", "if"}, where
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false", where


def test_what_the_steps_run_is_there() -> None:
    from typer.main import get_command

    from housetrain.cli.app import app

    verbs: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    extras = set(re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE))
    seen = set()
    for where, _, step in steps():
        for line in step.get("run", "").splitlines():
            program, *words = shlex.split(line)
            seen.add(program)
            if program == "make":
                assert set(words) <= targets, f"{where}: {line}"
            elif program == "housetrain":
                known = {flag for option in verbs[words[0]].params for flag in option.opts}
                assert {word for word in words if word.startswith("--")} <= known, f"{where}: {line}"
            elif "install" in words:
                assert {name for found in re.findall(r"\[(.+?)\]", line) for name in found.split(",")} <= extras, where
    assert {"make", "housetrain"} <= seen


def test_a_wrong_workflow_is_found(tmp_path: Path) -> None:
    (tmp_path / "twice.yml").write_text("on: push\njobs: {}\njobs: {}\n")
    with pytest.raises(AssertionError, match="twice"):
        read(tmp_path / "twice.yml")
    (tmp_path / "on.yml").write_text("on: {push: {}}\n")
    assert list(read(tmp_path / "on.yml")) == ["on"]
