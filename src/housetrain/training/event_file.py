"""One TensorBoard event file.

In: numbers, images, graphs. Out: records of the ``tensorboard`` package, in the order of the calls. It does not know
TensorFlow, or what is logged.

The package's own ``EventFileWriter`` imports TensorFlow where it is installed, and writes in a thread of its own.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


class EventFile:
    """One TensorBoard event file, written in this thread: what was flushed survives a kill.

    Args:
        folder: Where; made if missing. Each `EventFile` is a new file there, and readers take all of them in order.
        purge: Readers forget steps from here on that older files in ``folder`` hold.
    """

    def __init__(self, folder: Path, *, purge: int = 0) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        # Readers take the files in the order of their names: nanoseconds keep that true for quick restarts.
        seconds, rest = divmod(time.time_ns(), 10**9)
        name = f"events.out.tfevents.{seconds:010d}.{rest:09d}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((folder / name).open("xb"))
        self._write(event_pb2.Event(file_version="brain.Event:2"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(event_pb2.Event(session_log=start, step=purge))
        self.flush()

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """Write numbers under their tags."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        if values:
            self.summary(Summary(value=[Summary.Value(tag=t, simple_value=v) for t, v in values.items()]), step=step)

    def image(self, tag: str, image: Image.Image, *, step: int) -> None:
        """Write an image under a tag, as PNG."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        from housetrain.images.encode import encode

        # The older of TensorBoard's two forms: every reader takes it, and forgets it on a restart as it should.
        encoded = Summary.Image(
            height=image.height,
            width=image.width,
            colorspace=len(image.getbands()),
            encoded_image_string=encode(np.asarray(image)),
        )
        self.summary(Summary(value=[Summary.Value(tag=tag, image=encoded)]), step=step)

    def graph(self, graph: Any) -> None:
        """Write a ``GraphDef`` protobuf: what the Graphs tab shows first."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(graph_def=graph.SerializeToString()))

    def summary(self, summary: Any, *, step: int = 0) -> None:
        """Write a ``Summary`` protobuf."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(summary=summary, step=step))

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self._records.flush()

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
