"""What this process may use, read from made-up /proc and /sys trees: the tightest control group counts."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil
import pytest

from housetrain.system import machine

V1 = "33 24 0:29 {root} {place} rw,relatime shared:9 - cgroup cgroup rw,{controllers}"
V2 = "34 24 0:30 {root} {place} rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
LARGE = 1 << 20  # bytes; below what any machine has


def tree(root: Path, cgroup: str, mounts: list[str], files: dict[str, str]) -> Path:
    """Make a file system: this process's groups, where they are mounted, and files below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup + "\n")
    others = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n23 22 0:5 / /proc rw - proc proc rw\n"
    (root / "proc/self/mountinfo").write_text(others + "".join(f"{mount}\n" for mount in mounts))
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def version2(root: Path, own: str, files: dict[str, str], *, shown: str = "/") -> Path:
    return tree(root, f"0::{own}", [V2.format(root=shown, place="/sys/fs/cgroup")], files)


def version1(root: Path, own: str, files: dict[str, str], *, shown: str = "/") -> Path:
    cgroup = f"5:memory:{own}\n4:cpu,cpuacct:{own}\n1:name=systemd:/\n0::/"
    mounts = [
        V1.format(root=shown, place="/sys/fs/cgroup/cpu,cpuacct", controllers="cpu,cpuacct"),
        V1.format(root=shown, place="/sys/fs/cgroup/memory", controllers="memory"),
        V2.format(root="/", place="/sys/fs/cgroup/unified"),
    ]
    return tree(root, cgroup, mounts, files)


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("/", {}, 8),
        ("/", {"cpu.max": "max 100000"}, 8),
        ("/", {"cpu.max": "200000 100000"}, 2),  # a container with a namespace of its own
        ("/", {"cpu.max": "50000 100000"}, 1),  # less than one core is one
        ("/", {"cpu.max": "1600000 100000"}, 8),  # more than there are
        ("/user.slice/job", {"user.slice/job/cpu.max": "300000 100000"}, 3),  # systemd's CPUQuota=, SLURM
        ("/a/b/c", {"a/cpu.max": "200000 100000", "a/b/c/cpu.max": "400000 100000"}, 2),  # the ancestor is tighter
        ("/a/b/c", {"a/cpu.max": "400000 100000", "a/b/c/cpu.max": "200000 100000"}, 2),
        ("/a", {"b/cpu.max": "100000 100000"}, 8),  # another group's
        ("/../..", {"cpu.max": "200000 100000"}, 2),  # outside of this namespace
        ("/", {"cpu.max": "nonsense"}, 8),
    ],
)
def test_cores_under_version_2(tmp_path: Path, own: str, files: dict[str, str], expected: int) -> None:
    assert machine.cores(version2(tmp_path, own, files)) == expected


@pytest.mark.parametrize(
    ("own", "quotas", "expected"),
    [
        ("/", {}, 8),
        ("/", {"": "-1"}, 8),
        ("/", {"": "50000"}, 1),
        ("/docker/abc", {"docker/abc/": "250000"}, 2),
        ("/a/b", {"a/": "300000", "a/b/": "-1"}, 3),
    ],
)
def test_cores_under_version_1(tmp_path: Path, own: str, quotas: dict[str, str], expected: int) -> None:
    files = {}
    for group, quota in quotas.items():
        files[f"cpu,cpuacct/{group}cpu.cfs_quota_us"] = quota
        files[f"cpu,cpuacct/{group}cpu.cfs_period_us"] = "100000"
    assert machine.cores(version1(tmp_path, own, files)) == expected


def test_a_container_that_sees_a_part_of_the_hierarchy(tmp_path: Path) -> None:
    """Docker without a cgroup namespace: the mount shows the container's own group as its top."""
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "200000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}
    assert machine.cores(version1(tmp_path, "/docker/abc", files, shown="/docker/abc")) == 2
    files = {"cpu.max": "300000 100000", "job/cpu.max": "max 100000"}
    assert machine.cores(version2(tmp_path / "2", "/docker/abc/job", files, shown="/docker/abc")) == 3


def test_affinity_counts_and_a_system_without_proc_has_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.cores(tmp_path) == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert machine.cores(tmp_path) == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.cores(tmp_path) == os.cpu_count()


def test_memory_is_the_tightest_limit(tmp_path: Path) -> None:
    total = psutil.virtual_memory().total
    assert machine.memory_bytes(tmp_path / "none") == total
    assert machine.memory_bytes(version2(tmp_path / "a", "/", {"memory.max": "max"})) == total
    assert machine.memory_bytes(version2(tmp_path / "b", "/a/b", {"a/memory.max": "1048576"})) == LARGE
    nested = {"a/memory.max": "1048576", "a/b/memory.max": "2097152"}
    assert machine.memory_bytes(version2(tmp_path / "c", "/a/b", nested)) == LARGE
    unlimited = {"memory/memory.limit_in_bytes": "9223372036854771712"}
    assert machine.memory_bytes(version1(tmp_path / "d", "/", unlimited)) == total
    assert machine.memory_bytes(version1(tmp_path / "e", "/", {"memory/memory.limit_in_bytes": "1048576"})) == LARGE


def test_free_memory_is_what_the_group_has_left(tmp_path: Path) -> None:
    files = {"memory.max": "1048576", "memory.current": "900000", "memory.stat": "anon 1\ninactive_file 100000\n"}
    assert machine.free_memory_bytes(version2(tmp_path / "a", "/", files)) == LARGE - 900000 + 100000
    full = {"memory/memory.limit_in_bytes": "1048576", "memory/memory.usage_in_bytes": "1050000"}
    assert machine.free_memory_bytes(version1(tmp_path / "b", "/", full)) == 0
    assert 0 < machine.free_memory_bytes(tmp_path / "none") <= psutil.virtual_memory().total


def test_the_processor_and_what_it_can_do(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: A Fast One @ 3.0: GHz\nflags\t\t: fpu avx2 fma\n\nprocessor : 1\nflags : fpu\n"
    )
    assert machine.processor(tmp_path) == "A Fast One @ 3.0: GHz"
    assert machine.cpu_flags(tmp_path) == {"fpu", "avx2", "fma"}
    arm = tmp_path / "arm"
    (arm / "proc").mkdir(parents=True)
    (arm / "proc/cpuinfo").write_text("processor: 0\nFeatures: asimd bf16\n")
    assert machine.cpu_flags(arm) == {"asimd", "bf16"}
    assert machine.processor(arm) in (platform.processor(), platform.machine())
    assert machine.cpu_flags(tmp_path / "none") == frozenset()
    assert machine.quick_precisions(tmp_path) == () and machine.quick_precisions(arm) == ("bf16",)
    server = tmp_path / "server"
    (server / "proc").mkdir(parents=True)
    (server / "proc/cpuinfo").write_text("processor: 0\nflags: avx512f avx512_vnni avx512_bf16\n")
    assert machine.quick_precisions(server) == ("int8", "bf16")


def test_gpus_are_those_of_the_driver(tmp_path: Path) -> None:
    assert machine.gpus(tmp_path) == ()
    for number, text in enumerate(("Model: \t\t NVIDIA A Big One\nIRQ: 4\n", "IRQ: 5\n")):
        folder = tmp_path / f"proc/driver/nvidia/gpus/0000:0{number}"
        folder.mkdir(parents=True)
        (folder / "information").write_text(text)
    assert machine.gpus(tmp_path) == ("NVIDIA A Big One", "0000:01")


def test_a_process_is_alive_if_it_is_the_same_one() -> None:
    own = os.getpid()
    assert machine.process_alive(own) and machine.process_alive(own, born=machine.born(own))
    assert not machine.process_alive(own, born=machine.born(own) - 3600)
    assert not machine.process_alive(2**22 + 1) and not machine.process_alive(-1)


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)
    assert 0 < machine.free_memory_bytes() <= machine.memory_bytes() <= psutil.virtual_memory().total
