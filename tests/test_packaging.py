"""What the package says it needs: a limit on Python only where TensorFlow has one, one TensorFlow for each machine."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[Requirement]] = {
    extra: [Requirement(line) for line in lines] for extra, lines in PROJECT["optional-dependencies"].items()
}
TENSORFLOW = ("tensorflow", "tensorflow-cpu")
MACHINES = {
    "linux x86": {"sys_platform": "linux", "platform_machine": "x86_64"},
    "linux arm": {"sys_platform": "linux", "platform_machine": "aarch64"},
    "windows": {"sys_platform": "win32", "platform_machine": "AMD64"},
    "old mac": {"sys_platform": "darwin", "platform_machine": "x86_64"},
    "mac": {"sys_platform": "darwin", "platform_machine": "arm64"},
}


def installed(extra: str, python: str, machine: str) -> set[str]:
    environment = {**MACHINES[machine], "python_version": python, "python_full_version": f"{python}.0"}
    return {one.name for one in EXTRAS[extra] if one.marker is None or one.marker.evaluate(environment)}


def test_only_what_needs_tensorflow_has_a_newest_python() -> None:
    assert "3.11" in SpecifierSet(PROJECT["requires-python"]) and "3.15" in SpecifierSet(PROJECT["requires-python"])
    assert "3.10" not in SpecifierSet(PROJECT["requires-python"])
    limited = {extra for extra, lines in EXTRAS.items() if any("python" in str(line.marker) for line in lines)}
    assert limited == {extra for extra, lines in EXTRAS.items() if any(line.name in TENSORFLOW for line in lines)}
    assert limited == {"tensorflow", "tensorflow-cpu", "gpu"}
    assert not [line for line in PROJECT["dependencies"] if Requirement(line).marker]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_gets_one_tensorflow_until_python_3_13(machine: str) -> None:
    for extra in ("tensorflow", "tensorflow-cpu", "gpu"):
        for python in ("3.11", "3.12", "3.13"):
            assert len(installed(extra, python, machine) & {*TENSORFLOW}) == 1
        assert not installed(extra, "3.14", machine) & {*TENSORFLOW}
        assert "keras" in installed(extra, "3.14", machine)
    small = installed("tensorflow-cpu", "3.13", machine)
    assert ("tensorflow-cpu" in small) == (machine in ("linux x86", "windows"))  # the only ones it is built for


def test_tensorflow_for_cpus_brings_what_tensorflow_brings() -> None:
    small, large = (
        {str(one) for one in EXTRAS[extra] if one.name not in TENSORFLOW} for extra in ("tensorflow-cpu", "tensorflow")
    )
    assert small == large
    assert len({str(one.specifier) for extra in EXTRAS for one in EXTRAS[extra] if one.name in TENSORFLOW}) == 1


@pytest.mark.parametrize("name", ["run", "dev"])
def test_the_locks_hold_what_is_declared(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    locked = {one.name: one for line in lock.splitlines() if "==" in line and (one := Requirement(line.rstrip(" \\")))}
    for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["tensorflow"]]:
        wanted = Requirement(line)
        (pin,) = locked[wanted.name].specifier
        assert pin.version in wanted.specifier, line
    assert "3.14" in str(locked["tensorflow"].marker)
