"""The studio as a person has it: its server as a process, a real browser in front. For tests that have both."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from housetrain.studio.settings import TOKEN

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run"
)


def chromium() -> str:
    """Return where the browser is; skip the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium here: apt-get install chromium")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`housetrain studio` in a working folder.

    Args:
        work: The working folder.
        words: Further words of the command line.
    """

    def __init__(self, work: Path, *words: str) -> None:
        self.work, self.words, self.port = work, words, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = secrets.token_urlsafe(24)
        self.start()

    def start(self) -> None:
        self.log = (self.work / "studio.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "housetrain", "studio", *self.words, "--no-browser", "--port", str(self.port)],
            cwd=self.work,
            env={**os.environ, TOKEN: self.token},
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                    return
            except OSError:
                assert self.process.poll() is None, (self.work / "studio.log").read_text()
                time.sleep(0.1)
        raise AssertionError("the studio does not answer")

    def at(self, path: str = "") -> str:
        """Return the URL of a page with the token."""
        return f"{self.url}/{path}{'&' if '?' in path else '?'}token={self.token}"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def said(self) -> str:
        return (self.work / "studio.log").read_text()


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a headless Chromium that goes nowhere but to this machine."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=[*_FLAGS.split(), "--proxy-bypass-list=*"])
        try:
            yield started
        finally:
            started.close()


def ends(word: str) -> re.Pattern[str]:
    """A button's name begins with that of its icon."""
    return re.compile(rf"(^|\s){re.escape(word)}$")
