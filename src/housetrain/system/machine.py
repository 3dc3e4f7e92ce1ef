"""The machine as this process may use it: cores, instruction sets, memory, GPUs, other processes.

In: /proc, /sys and the scheduler. Out: plain numbers and names. Does not know: TensorFlow, or what they are used for.

A container's share counts: control groups of version 1 and 2, where the tightest of a group and its ancestors applies
(https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/cgroups.html). Every
function takes the root of the file system as ``root``, so that a test can show it another machine.
"""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

ROOT = Path("/")
_SAME_BIRTH_S = 2.0
_NO_LIMIT = 1 << 60  # version 1 writes the largest multiple of a page below 2**63


def cores(root: Path = ROOT) -> int:
    """Return how many processes can run at once: the cores of this process's affinity, and its container's share."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [quota / period for quota, period in _quotas(root) if quota > 0 and period > 0]
    return max(1, min(available, *(round(share) for share in shares)) if shares else available)


def memory_bytes(root: Path = ROOT) -> int:
    """Return the bytes of memory that this process may use: the machine's, or its container's limit."""
    import psutil

    limits = [limit for group in _groups("memory", root) if (limit := _memory_limit(group)) is not None]
    return min([psutil.virtual_memory().total, *limits])


def free_memory_bytes(root: Path = ROOT) -> int:
    """Return the bytes of memory that are available now; file contents that can be dropped count as available."""
    import psutil

    free = [psutil.virtual_memory().available]
    for group in _groups("memory", root):
        limit, used = _memory_limit(group), _number(group, "memory.current", "memory.usage_in_bytes")
        if limit is not None and used is not None:
            free.append(limit - used + _statistics(group).get("inactive_file", 0))
    return max(0, min(free))


@functools.cache
def cpu_flags(root: Path = ROOT) -> frozenset[str]:
    """Return the instruction sets of the processor as Linux names them; none elsewhere."""
    return frozenset((_cpu_info(root, "flags") or _cpu_info(root, "Features")).split())


_QUICK = {"int8": {"avx512_vnni", "avx_vnni", "amx_int8", "i8mm"}, "bf16": {"avx512_bf16", "amx_bf16", "bf16"}}


def quick_precisions(root: Path = ROOT) -> tuple[Literal["int8", "bf16"], ...]:
    """Return the types narrower than float32 that the processor multiplies natively, the narrowest first."""
    names: tuple[Literal["int8", "bf16"], ...] = ("int8", "bf16")
    return tuple(name for name in names if _QUICK[name] & cpu_flags(root))


def processor(root: Path = ROOT) -> str:
    """Return the processor's name, as the system calls it."""
    return _cpu_info(root, "model name") or platform.processor() or platform.machine()


def gpus(root: Path = ROOT) -> tuple[str, ...]:
    """Return the names of the NVIDIA devices that the driver lists."""
    names = []
    for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        facts = dict(_split_line(line) for line in _text(path).splitlines())
        names.append(facts.get("Model") or path.parent.name)
    return tuple(names)


def _cpu_info(root: Path, name: str) -> str:
    lines = map(_split_line, _text(root / "proc/cpuinfo").splitlines())
    return next((value for key, value in lines if key == name), "")


def _split_line(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """Yield microseconds of processor time per period, of each control group that has a quota."""
    for group in _groups("cpu", root):
        words = _text(group / "cpu.max").split() or [
            _text(group / "cpu.cfs_quota_us").strip(),
            _text(group / "cpu.cfs_period_us").strip(),
        ]
        if len(words) == 2 and all(word.isdigit() for word in words):  # not "max", not -1
            yield int(words[0]), int(words[1])


def _memory_limit(group: Path) -> int | None:
    limit = _number(group, "memory.max", "memory.limit_in_bytes")
    return limit if limit is not None and limit < _NO_LIMIT else None


def _number(group: Path, *names: str) -> int | None:
    words = (_text(group / name).strip() for name in names)
    return next((int(word) for word in words if word.isdigit()), None)


def _statistics(group: Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(group / "memory.stat").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups with ``controller``: each group, then its ancestors."""
    own: dict[str, str] = {}  # controller -> path in its hierarchy; "" is version 2
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        own |= dict.fromkeys(names.split(","), path)
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        shown, place = before.split()[3:5]
        kind, _, options = [*after.split(), "", "", ""][:3]
        version1 = kind == "cgroup" and controller in options.split(",")
        key = controller if version1 else ""
        if not (version1 or kind == "cgroup2") or key not in own:
            continue
        top = root / place.lstrip("/")
        # In a container the mount shows a part of the hierarchy; a path outside of it is that of the part's own top.
        group = PurePosixPath(own[key])
        inside = group.relative_to(shown).parts if group.is_relative_to(shown) and ".." not in group.parts else ()
        for depth in range(len(inside), -1, -1):
            yield top.joinpath(*inside[:depth])


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def process_alive(pid: int, *, born: float | None = None) -> bool:
    """Return whether a process runs on this machine; a zombie does not.

    Args:
        pid: Its number.
        born: When it started, as `born` returned it. By now the number may be another process's.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # It is computed from the time of the last boot in whole seconds, which moves by one when the clock is set.
        return born is None or abs(process.create_time() - born) < _SAME_BIRTH_S
    except psutil.AccessDenied:  # another person's
        return True
    except (psutil.Error, ValueError, OverflowError):
        return False


def born(pid: int) -> float:
    """Return when a process started, in seconds since the epoch."""
    import psutil

    return float(psutil.Process(pid).create_time())
