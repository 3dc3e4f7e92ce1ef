"""The verbs that use a trained model: predict, export, benchmark, explain, classify, embed. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from housetrain.cli.backbone_options import BackbonePreprocessing
from housetrain.cli.cluster_options import ADDRESS, EXECUTOR, refuse_without_ray
from housetrain.cli.label_options import ClassMapOption
from housetrain.cli.log_options import with_log
from housetrain.cli.options import ImageSize, Json, PreparedOption, Quiet, Workers, one_of
from housetrain.cli.waiting import waiting

app = typer.Typer()
_RUN = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]
_Csv = Annotated[
    Path | None,
    typer.Option(help="Write one row per image to this file; with the columns RelativePath and File of Timelapse."),
]
_Engine = Annotated[
    str | None,
    typer.Option(
        help="Model format to run; by default the first in the bundle whose library is installed.",
        metavar="keras|litert|onnx|openvino",
    ),
]
_Precision = Annotated[
    str | None,
    typer.Option(
        help="auto: the narrowest numbers that this processor is quick at and in which all validation images keep "
        "their class, checked once; by default what was tested.",
        metavar="auto",
    ),
]
_VoteBy = Annotated[
    str | None,
    typer.Option(
        help="One vote over the images of a sequence: of a folder, or of names with the same REGEX group.",
        metavar="parent|REGEX",
    ),
]
_SortInto = Annotated[
    Path | None,
    typer.Option(help="Also link or copy each image into FOLDER/CLASS, unsure ones into FOLDER/unsure."),
]
_Set = Annotated[
    float | None,
    typer.Option(
        "--set", help="Also name the classes that hold the true one with this probability.", min=0.5, max=0.99
    ),
]
_Accept = Annotated[
    list[str] | None,
    typer.Option(
        help="A prediction of CLASS is unsure below this probability, instead of the model's threshold; repeatable.",
        metavar="CLASS=PROBABILITY",
    ),
]
_Link = Annotated[
    bool | None,
    typer.Option("--link/--copy", help="With --sort-into: hard links or copies; by default links where possible."),
]


@app.command(
    epilog="Examples:  housetrain predict RUN photo.jpg  ·  cat photo.jpg | housetrain predict RUN -  ·  "
    "housetrain predict RUN holiday/ --csv names.csv. Rerun the same command to resume an interrupted table."
)
@with_log
def predict(
    run: Annotated[
        str, typer.Argument(help="A run folder, a bundle, or the address of `housetrain serve`.", metavar="RUN")
    ],
    images: Annotated[
        list[str],
        typer.Argument(help="Images, folders or globs; - reads one image from standard input.", metavar="IMAGE..."),
    ],
    top: Annotated[int, typer.Option(help="Number of classes to show per image.", min=1)] = 1,
    csv: _Csv = None,
    jsonl: Annotated[Path | None, typer.Option(help="Write one JSON object per image to this file.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Write one row per image to this .csv, .jsonl or .parquet file; also to an address, such as "
            "s3://BUCKET/names.parquet.",
            metavar="FILE",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images per step.", min=1)] = 64,
    engine: _Engine = None,
    precision: _Precision = None,
    class_map: ClassMapOption = None,
    vote_by: _VoteBy = None,
    set_level: _Set = None,
    accept: _Accept = None,
    sort_into: _SortInto = None,
    link: _Link = None,
    workers: Workers = None,
    executor: EXECUTOR = None,
    address: ADDRESS = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object per image, one per line.")] = False,
    quiet: Quiet = False,
) -> None:
    """Classify images with a trained model, here, on a server or on a Ray cluster.

    Marks unsure predictions, and images that the model was trained on. Counts the classes at the end.
    """
    from housetrain.cli import predicting
    from housetrain.errors import RecipeError

    tables = [str(one) for one in (csv, jsonl, output) if one]
    if len(tables) > 1:
        raise RecipeError(
            "Only one output file is possible", do="choose --csv, --jsonl or --output", output=", ".join(tables)
        )
    cluster = {"executor": executor, "address": address}
    on_ray = refuse_without_ray({name: value for name, value in cluster.items() if value is not None})
    run = run if precision is None else _narrowest(run, precision, engine, quiet=quiet)
    if link is not None and sort_into is None:
        raise RecipeError("There is nothing to link or copy", do="add --sort-into FOLDER")
    failed = predicting.predict(
        run, images, predicting.table_of(csv, jsonl, output), engine=engine, class_map=class_map,
        ray=predicting.Ray(address) if on_ray else None,
        sort_into=sort_into, how="auto" if link is None else "link" if link else "copy", json_=json_, quiet=quiet,
        top=top, batch_size=batch_size, workers=workers, vote_by=vote_by, set_level=set_level, accept=accept,
    )  # fmt: skip
    if failed:
        raise typer.Exit(1)


def _narrowest(run: str, precision: str, engine: str | None, *, quiet: bool) -> str:
    """Return the folder of the same model in the narrowest precision that keeps its predictions."""
    from housetrain.cli.predicting import is_address
    from housetrain.cli.progress_bar import callbacks_for
    from housetrain.errors import RecipeError
    from housetrain.exports.narrowest import narrowest

    one_of("precision", precision, ("auto",))
    if engine is not None:
        raise RecipeError("A precision was given with an engine", do="leave one of them out", engine=engine)
    if is_address(run):
        raise RecipeError("A server chooses its precision itself", do="leave the precision out", precision=precision)
    return str(narrowest(Path(run), callbacks=callbacks_for(quiet=quiet)).folder)


@app.command(
    epilog="Examples:  housetrain export RUN  ·  housetrain export RUN --format litert --precision int8 --output phone"
)
@with_log
def export(
    run: _RUN,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Model format; by default one bundle with Keras and, where installed, OpenVINO.",
            metavar="keras|litert|onnx|openvino|saved-model",
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="Numeric precision.", metavar="fp32|bf16|fp16|int8")] = "fp32",
    output: Annotated[
        Path | None,
        typer.Option(help="Output folder; by default bundle/ or exports/FORMAT-PRECISION/ in the run folder."),
    ] = None,
    prepared: PreparedOption = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Export the model, verified against the Keras model on validation images.

    The bundle holds the model, class names, input spec, checksums and a README with sample code. int8 is calibrated
    on training images. An export whose predictions differ too much from the Keras model's is refused.
    """
    from housetrain.cli import terminal
    from housetrain.cli.progress_bar import callbacks_for
    from housetrain.exports.bundle import export as export_run

    callbacks = callbacks_for(quiet=quiet)
    bits = one_of("precision", precision, _BITS)
    arrays = None
    if prepared is not None:
        from housetrain.data.prepared import Prepared

        arrays = Prepared.open(prepared)
    with waiting("Loading the model", quiet=quiet):
        made = export_run(run, output, format=format_, precision=bits, prepared=arrays, callbacks=callbacks)
    if json_:
        terminal.print_json(made.to_json())
        return
    if format_ is not None:
        terminal.parity(made.parity)
    terminal.out(f"Model    {made.folder}")
    terminal.out(f"Read     {made.folder / 'README.md'}")


_BITS = ("fp32", "bf16", "fp16", "int8")


@app.command(epilog="Example:  housetrain benchmark RUN")
@with_log
def benchmark(run: _RUN, json_: Json = False, quiet: Quiet = False) -> None:
    """Compare size, speed and accuracy of the model in every format and precision available here. Keeps no files."""
    from housetrain.cli import terminal
    from housetrain.cli.progress_bar import callbacks_for
    from housetrain.exports.bundle import benchmark as benchmark_run

    with waiting("Loading the model", quiet=quiet):
        found = benchmark_run(run, callbacks=callbacks_for(quiet=quiet))
    if json_:
        terminal.print_json(found.to_json())
        return
    terminal.parity(found.rows)
    for name, reason in found.left_out.items():
        terminal.out(f"Left out: {name}: {reason}")


@app.command(epilog="Examples:  housetrain explain RUN photo.jpg  ·  housetrain explain RUN photo.jpg --name Dog")
def explain(
    run: _RUN,
    images: Annotated[list[Path], typer.Argument(help="One or more images.", metavar="IMAGE...")],
    output: Annotated[Path | None, typer.Option(help="Output folder; by default explained/ in the run folder.")] = None,
    name: Annotated[str | None, typer.Option(help="Class to explain; by default the predicted one.")] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also write a page on which the first convolution slides over the image.")
    ] = False,
    json_: Json = False,
) -> None:
    """Explain predictions: Grad-CAM and occlusion heat maps, feature maps and filters.

    Writes PNG images and an HTML page, and adds a section to the run's report.
    """
    from housetrain.cli import terminal
    from housetrain.report.explain import explain as explain_run

    with waiting("Loading the model"):
        made = explain_run(run, images, output, name=name, layers=layers)
    if json_:
        terminal.print_json(made.to_json())
        return
    for line in made.lines():
        terminal.out(line)
    terminal.out(f"Page     {made.page}")
    if made.layers is not None:
        terminal.out(f"Layers   {made.layers}")
    elif layers:
        terminal.out("The model has no convolution that can be shown, so there is no page of layers.")


@app.command(epilog="Example:  housetrain classify photo.jpg --top 5")
def classify(
    images: Annotated[list[str], typer.Argument(help="Images, folders or globs.", metavar="IMAGE...")],
    model: Annotated[
        str,
        typer.Option(
            help="Pretrained model; by default efficientnet-lite0 where its weights are installed, else xception."
        ),
    ] = "",
    top: Annotated[int, typer.Option(help="Number of classes to show per image.", min=1, max=1000)] = 5,
    weights: Annotated[
        str,
        typer.Option(
            help="imagenet (installed, or downloaded once), or a weights file that includes the top.",
            metavar="imagenet|PATH",
        ),
    ] = "imagenet",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object per image, one per line.")] = False,
) -> None:
    """Classify images into the 1,000 ImageNet classes, without training."""
    from housetrain.cli import terminal
    from housetrain.inference.classify import classify as classify_images

    with waiting("Loading the model"):
        results = classify_images(images, model, weights=weights, top=top)
        failed = terminal.predictions(results, top=top, as_json=json_)
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Example:  housetrain embed PetImages --output features.npz")
@with_log
def embed(
    folder: Annotated[Path, typer.Argument(help="Class folders, or any folder of images.", metavar="FOLDER")],
    output: Annotated[Path, typer.Option(help="The .npz file to write.")] = Path("features.npz"),
    backbone: Annotated[
        str,
        typer.Option(
            help="Pretrained model, such as efficientnet-lite0 or xception, or the .onnx file of an image encoder.",
            metavar="MODEL|FILE.onnx",
        ),
    ] = "efficientnet-lite0",
    backbone_preprocessing: BackbonePreprocessing = "",
    weights: Annotated[
        str,
        typer.Option(
            help="imagenet (installed, or downloaded once), or a weights file without the top.",
            metavar="imagenet|PATH",
        ),
    ] = "imagenet",
    image_size: ImageSize = None,
    workers: Workers = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compute the features of all images of a folder with a pretrained model.

    Writes a .npz file with features (float32), paths, and labels (the first folder of each path).
    """
    from housetrain.cli import terminal
    from housetrain.cli.progress_bar import callbacks_for
    from housetrain.inference.embed import embed as embed_folder

    found = embed_folder(
        folder, output, backbone, weights=weights, backbone_preprocessing=backbone_preprocessing,
        image_size=image_size, workers=workers, callbacks=callbacks_for(quiet=quiet),
    )  # fmt: skip
    if json_:
        count, width = found.features.shape
        terminal.print_json({"output": str(output), "images": count, "features": width, "failed": found.failed})
    else:
        for path, reason in found.failed.items():
            terminal.out(f"{path}: {reason}")
        terminal.out(found.summary())
    if found.failed:
        raise typer.Exit(1)
