"""The child's side of a pool: its memory bound, and its end with the parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

LIFELINE = """
import fcntl, os, sys, time
from housetrain.system.pool_child import die_with_parent
if sys.argv[2] == "thread":
    del fcntl.F_SETSIG
die_with_parent(int(sys.argv[1]))
print("started", flush=True)
time.sleep(60)
"""
MEMORY = """
from housetrain.system.pool_child import bound_memory
bound_memory(64 << 20)
bytearray(16 << 20)
try:
    bytearray(256 << 20)
except MemoryError:
    print("bounded")
"""


@pytest.mark.parametrize("how", ["signal", "thread"])
@pytest.mark.parametrize("early", [False, True])
def test_a_child_ends_with_the_last_writer_of_its_lifeline(how: str, early: bool) -> None:
    """By a signal on Linux, by a thread elsewhere; also when the parent ended before the child looked."""
    mine, theirs = os.pipe()
    children = []
    try:
        if early:
            os.close(theirs)
        for _ in range(2):  # both share the reading end
            command = [sys.executable, "-c", LIFELINE, str(mine), how]
            children.append(subprocess.Popen(command, pass_fds=(mine,), stdout=subprocess.PIPE))
        if not early:
            for child in children:
                assert child.stdout is not None and child.stdout.readline() == b"started\n"
            time.sleep(0.2)
            assert [child.poll() for child in children] == [None, None]
            os.close(theirs)
        for child in children:
            assert child.wait(15) is not None
    finally:
        os.close(mine)
        for child in children:
            child.kill()
            child.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="macOS refuses the bound")
def test_the_heap_is_bounded() -> None:
    assert subprocess.check_output([sys.executable, "-c", MEMORY], text=True) == "bounded\n"
