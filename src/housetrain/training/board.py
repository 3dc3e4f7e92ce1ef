"""Opening TensorBoard on a run, a sweep or a folder of runs.

In: a folder with event files. Out: a TensorBoard server on this machine only. It does not know what the files hold.
"""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

from housetrain.errors import HousetrainError, IncompleteError, MissingExtra

_BOARD = (
    "import sys; from tensorboard import default, program; board = program.TensorBoard(default.get_plugins()); "
    "board.configure(sys.argv); sys.exit(board.main())"
)
"""What `python -m tensorboard.main` does, without its import of TensorFlow: it answers in 2 s instead of 8."""


def board_command(folder: Path | str, *, port: int = 6006) -> list[str]:
    """Return the command that opens TensorBoard on a run, a sweep or a folder of runs.

    Args:
        folder: Searched for event files.
        port: On 127.0.0.1; 0 takes a free one.

    Raises:
        IncompleteError: There are no event files below ``folder``.
        MissingExtra: The ``tensorboard`` package is not installed.
    """
    folder = Path(folder)
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtra("tensorflow", need="TensorBoard")
    if next(folder.rglob("events.out.tfevents.*"), None) is None:
        raise IncompleteError(
            "There are no TensorBoard event files here" if folder.is_dir() else "There is no such folder",
            expected="a run, or a folder of runs, with event files",
            folder=str(folder),
        )
    logs = folder / "tb" if (folder / "tb").is_dir() else folder
    return [sys.executable, "-P", "-c", _BOARD, f"--logdir={logs}", "--host=127.0.0.1", f"--port={port}"]


def board(folder: Path | str, *, port: int = 6006) -> None:
    """Open TensorBoard on this machine only, and wait until it stops.

    Args:
        folder: A run, a sweep or a folder of runs.
        port: On 127.0.0.1; 0 takes a free one.

    Raises:
        IncompleteError: There are no event files below ``folder``.
        HousetrainError: TensorBoard did not start, for instance because the port is taken.
    """
    command = board_command(folder, port=port)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise HousetrainError(
                "TensorBoard cannot listen there", do="choose another --port", port=port, reason=error.strerror
            ) from error
    process = subprocess.Popen(command)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        return
    if code:
        raise HousetrainError("TensorBoard stopped unexpectedly", do="choose another --port", port=port, exit_code=code)
