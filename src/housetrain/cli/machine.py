"""The verbs about this machine: board, studio, serve, doctor. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from housetrain.cli.options import Json, Workers

app = typer.Typer()


@app.command(epilog="Example:  housetrain board runs")
def board(
    runs: Annotated[Path, typer.Argument(help="A run folder, or a folder of runs.", metavar="RUNS")],
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 6006,
) -> None:
    """Start TensorBoard on this machine only (127.0.0.1)."""
    from housetrain.training.board import board as open_board

    open_board(runs, port=port)


@app.command(epilog="Examples:  housetrain studio PetImages  ·  housetrain studio --data-root ~/Images --no-browser")
def studio(
    folder: Annotated[Path | None, typer.Argument(help="The folder of images to open.", metavar="[FOLDER]")] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(help="Root of the folders that the page may open; by default the current folder."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 8501,
    address: Annotated[
        str, typer.Option(help="Address to listen on. Any other than 127.0.0.1 requires HOUSETRAIN_STUDIO_PASSWORD.")
    ] = "127.0.0.1",
    origin: Annotated[
        str | None, typer.Option(help="URL of the page behind a proxy, such as https://hub.example/studio.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Start the studio: the whole workflow on a web page, on this machine only.

    Uses the current folder, like the other commands, and shows their results. Closing it does not stop a training.
    """
    from housetrain.studio.launch import launch

    launch(folder, data_root=data_root, address=address, port=port, browser=not no_browser, origin=origin)


@app.command(
    epilog="Examples:  housetrain serve runs/pets  ·  housetrain serve cats=runs/cats dogs=runs/dogs --port 9000. "
    "Ask it with: curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/predict"
)
def serve(
    bundles: Annotated[
        list[str],
        typer.Argument(help="Bundles or run folders, or NAME=FOLDER; the first is the default.", metavar="BUNDLE..."),
    ],
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 8000,
    address: Annotated[
        str, typer.Option(help="Address to listen on. Any other than 127.0.0.1 requires HOUSETRAIN_SERVE_TOKEN.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name of this server in Host headers; may be repeated.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Origin of web pages that may ask (CORS); may be repeated.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Model format to run; by default the first in the bundle whose library is installed.",
            metavar="keras|litert|onnx|openvino",
        ),
    ] = None,
    workers: Workers = None,
    queue: Annotated[int, typer.Option(help="Images that may wait; more get status 503.", min=1)] = 256,
    batch_size: Annotated[int, typer.Option(help="Images that the model takes at a time, at most.", min=1)] = 64,
    max_images: Annotated[int, typer.Option(help="Images per request.", min=1)] = 64,
    max_megapixels: Annotated[
        float | None, typer.Option(help="Size of an image; by default what the decoder reads.", min=0.01)
    ] = None,
    max_body: Annotated[int, typer.Option(help="Size of a request, in MiB.", min=1, max=1024)] = 32,
) -> None:
    """Answer requests over HTTP: images in, predictions out, on this machine only.

    Batches the images of concurrent requests, loads a bundle again when it changes, and finishes what has begun before
    it stops. Reports to Prometheus, and speaks the Open Inference Protocol (KServe v2), too.
    """
    from housetrain.serve.limits import Limits
    from housetrain.serve.server import Access
    from housetrain.serve.server import serve as serve_bundles

    limits = Limits(
        body_bytes=max_body << 20,
        images=max_images,
        pixels=None if max_megapixels is None else round(max_megapixels * 1e6),
        queue=queue,
        batch=batch_size,
    )
    access = Access(address, port, tuple(allow_host or ()), tuple(origin or ()))
    serve_bundles(bundles, access=access, limits=limits, engine=engine, workers=workers)


@app.command(epilog="Example:  housetrain doctor --json")
def doctor(json_: Json = False) -> None:
    """Check this machine: versions, hardware, and anything that will be slow or fail. Exit code 1 on errors."""
    from housetrain.cli import terminal
    from housetrain.diagnosis import doctor as diagnose

    diagnosis = diagnose()
    if json_:
        terminal.print_json(diagnosis.to_json())
    else:
        terminal.diagnosis(diagnosis)
    if any(remark.severity == "error" for remark in diagnosis.remarks):
        raise typer.Exit(1)
