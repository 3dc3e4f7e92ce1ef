"""Start the Streamlit server of the studio, on this machine only unless a password is set.

In: the options of `housetrain studio`. Out: this process becomes the server. It does not know the pages.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from housetrain.errors import FolderError, HousetrainError, MissingExtra
from housetrain.studio.places import Places
from housetrain.studio.settings import PASSWORD, TOKEN, Settings
from housetrain.studio.uploads import MOST_MEGABYTES, clear_leftovers
from housetrain.system.network import allowed_hosts, check_address, free_port

_SERVICE = "the studio"
_ACCENT = {"light": "#2563eb", "dark": "#3b82f6"}


def settings_of(folder: Path | None, data_root: Path | None) -> Settings:
    """Return the checked settings of the studio.

    Args:
        folder: The folder of images to open first.
        data_root: Root of the folders that the page may open. By default the working folder, or ``folder`` itself if
            it is outside the working folder.

    Raises:
        FolderError: A folder is missing, or ``folder`` is not below ``data_root``.
    """
    work = Path.cwd()
    if folder is not None and not folder.is_dir():
        raise FolderError("The folder does not exist", expected="a folder of class folders", folder=str(folder))
    if data_root is None:
        inside = folder is None or Places(work).holds(folder)
        data_root = work if inside or folder is None else folder
    if not data_root.is_dir():
        raise FolderError("The data root does not exist", expected="a folder", data_root=str(data_root))
    if folder is not None and not Places(data_root).holds(folder):
        raise FolderError(
            "The folder is not below the data root",
            do="omit --data-root, or choose one that contains the folder",
            folder=str(folder),
            data_root=str(data_root),
        )
    return Settings(work, Path(os.path.realpath(data_root)), None if folder is None else Path(os.path.realpath(folder)))


def check_origin(origin: str) -> SplitResult:
    """Return the parts of the URL at which a proxy serves the page.

    Raises:
        HousetrainError: It is not such a URL.
    """
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise HousetrainError("Invalid origin", expected="a URL such as https://hub.example/studio", origin=origin)
    return parts


def command(*, address: str, port: int, browser: bool, origin: str | None = None) -> list[str]:
    """Return the command that serves the page, with every security setting explicit.

    Args:
        address: Address to listen on.
        port: Port to listen on.
        browser: Whether to open a browser.
        origin: URL at which a proxy serves the page.
    """
    options = {
        "server.address": address,
        "server.port": port,
        "server.headless": str(not browser).lower(),
        "server.showEmailPrompt": "false",
        "server.enableXsrfProtection": "true",
        "server.enableCORS": "true",
        "server.maxUploadSize": MOST_MEGABYTES,
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "server.enableStaticServing": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "logger.hideWelcomeMessage": "true",
        "theme.light.primaryColor": _ACCENT["light"],
        "theme.dark.primaryColor": _ACCENT["dark"],
        "theme.baseRadius": "0.6rem",
        "theme.showSidebarBorder": "true",
    }
    page = Path(__file__).with_name("app.py")
    hosts = [*allowed_hosts(address)]
    flags = [f"--{name}={value}" for name, value in options.items()]
    if origin is not None:
        parts = check_origin(origin)
        flags += [
            f"--server.corsAllowedOrigins={parts.scheme}://{parts.netloc}",
            f"--server.baseUrlPath={parts.path.strip('/')}",
        ]
        hosts += [str(parts.hostname)] if hosts else []
    flags += [f"--server.allowedHosts={host}" for host in hosts]
    return [sys.executable, "-P", "-m", "housetrain.studio.server", "run", str(page), *flags]


def launch(
    folder: Path | None = None,
    *,
    data_root: Path | None = None,
    address: str = "127.0.0.1",
    port: int = 8501,
    browser: bool = True,
    origin: str | None = None,
) -> None:
    """Replace this process by the server of the page.

    Args:
        folder: The folder of images to open first.
        data_root: Root of the folders that the page may open; by default the working folder.
        address: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        browser: Whether to open a browser.
        origin: URL at which a proxy (JupyterHub, nginx) serves the page, such as ``https://hub.example/studio``.

    Raises:
        MissingExtra: Streamlit is not installed.
        FolderError: A folder cannot be used as asked.
        HousetrainError: The address or port cannot be used.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise MissingExtra("studio", need="The studio")
    settings = settings_of(folder, data_root)
    check_address(address, secret=PASSWORD, service=_SERVICE)
    port = free_port(address, port, service=_SERVICE)
    clear_leftovers(settings.uploads)
    words = command(address=address, port=port, browser=browser, origin=origin)
    token = os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    environment = {**os.environ, **settings.to_environment(), TOKEN: token}
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - an account without a name, where Streamlit asks for its home
        environment["HOME"] = str(settings.scratch)
    host = f"[{address}]" if ":" in address else address
    url = (origin or f"http://{host}:{port}").rstrip("/")
    sys.stderr.write(f"Studio   {url}/?token={token}\n         Ctrl-C stops the page; running trainings continue\n")
    sys.stderr.flush()
    os.execve(words[0], words, environment)
