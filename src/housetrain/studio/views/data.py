"""The Data page: choose a folder of images, check it, prepare it for training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from housetrain.data.findings import Finding
from housetrain.data.prepare import default_prepared_folder
from housetrain.data.split import SplitOptions
from housetrain.data.split_manifest import SplitManifest
from housetrain.errors import HousetrainError
from housetrain.images.input_spec import InputSpec
from housetrain.models.nets import PRESETS
from housetrain.report.plots.bars import counts_table, draw_counts
from housetrain.studio import jobs, looking, plot, shelf, uploads, widgets
from housetrain.studio.looking import Look
from housetrain.studio.settings import Settings
from housetrain.studio.views import Page
from housetrain.studio.widgets import plain, readable

PAGE = Page("Data", icon="photo_library", position=10)
_SHOWN = 24  # images of one finding
_CLASSES = 12  # classes of samples
_ICONS = {"error": ":material/error:", "warning": ":material/warning:", "note": ":material/info:"}
_BALANCES = {
    "weights": "class weights",
    "trim": "undersample larger classes",
    "none": "none",
}
_RESIZES = {"stretch": "stretch", "pad": "pad with white", "crop": "center crop"}


def show() -> None:
    """Draw the page."""
    widgets.header("Data", "Choose a folder of images, check it, and prepare it for training.")
    with widgets.in_one_sentence():
        folder = _choose()
        if folder is None:
            return
        job = looking.job_of(folder)
        if job is None:
            looking.places().refuse_links_outside(folder)
            job = looking.begin(folder)
        if job.active:
            widgets.watch(job, "Checking every image")
            return
        if not widgets.outcome(job):
            if st.button("Check again", icon=":material/refresh:"):
                looking.begin(folder)
                st.rerun()
            return
        found = looking.look(folder, job)
        _overview(folder, found)
        _findings(found)
        spec = _size()
        _samples(found, spec)
        _prepare(folder, found, spec)


# ------------------------------------------------------------------------------------------------- choose
def _choose() -> Path | None:
    places = looking.places()
    settings = Settings.of()
    names = {places.name(folder): folder for folder in places.folders()}
    if settings.folder is not None:
        names = {places.name(settings.folder): settings.folder} | names
    arrived = st.session_state.pop("arrived", None)
    if arrived in names:
        st.session_state["folder"] = arrived
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Folder of images",
            [*names],
            index=0 if settings.folder is not None and names else None,
            key="folder",
            bind="query-params",
            accept_new_options=True,
            format_func=readable,
            placeholder="Choose a folder or type a path",
            help=f"A folder with one subfolder per class, such as cats and dogs. Only folders below {places.root} "
            "can be opened.",
        )
        with st.popover("Upload a zip", icon=":material/upload:"):
            _upload()
    if not name:
        if names:
            widgets.empty(
                "Choose a folder to start", "It needs one subfolder of images per class.", icon="photo_library"
            )
        else:
            widgets.empty(
                "No folder of images yet",
                "Copy one below the folder where the studio was started, upload a zip, or try the sample.",
                icon="photo_library",
            )
        _sample()
        return None
    return names.get(name) or places.resolve(name)


def _upload() -> None:
    given = st.file_uploader(
        "A zip of class folders",
        type=["zip"],
        help="For example pets.zip with cats/1.jpg and dogs/1.jpg. It is validated before it is stored.",
    )
    if given is None:
        st.caption(f"Up to {uploads.MOST_MEGABYTES:,} MB. For more, copy the folder below the data root.")
        return
    if st.session_state.get("unpacked") == given.file_id:
        st.success("Extracted.", icon=":material/check:")
        return
    bar = st.progress(0.0, text="Extracting …")
    settings = Settings.of()
    settings.scratch.mkdir(parents=True, exist_ok=True)
    with widgets.in_one_sentence(), tempfile.NamedTemporaryFile(dir=settings.scratch, suffix=".zip") as file:
        file.write(given.getbuffer())
        file.flush()

        def advance(done: int, total: int) -> None:
            if done % 50 == 0 or done == total:
                bar.progress(done / total, text=f"Extracting {done:,} of {total:,} files")

        folder = uploads.unpack(Path(file.name), given.name, settings.uploads, progress=advance)
        st.session_state["unpacked"] = given.file_id
        st.session_state["arrived"] = looking.places().name(folder)
        st.rerun()


def _sample() -> None:
    settings = Settings.of()
    target = settings.samples / "digits"
    job = jobs.newest(settings.jobs, target=target)
    if job is not None and job.active:
        widgets.watch(job, "Writing the sample", stoppable=False)
        return
    if job is not None and job.state != "done":
        widgets.outcome(job)
    with st.container(horizontal_alignment="center"):
        words = "Try it with 1,797 handwritten digits"
        if st.button(words, icon=":material/experiment:", help="A sample data set that needs no download."):
            widgets.start(["sample", "digits", target], target=target)
            st.session_state["arrived"] = looking.places().name(target)
            st.rerun()


# ------------------------------------------------------------------------------------------------- look
def _overview(folder: Path, found: Look) -> None:
    catalog, usable = found.catalog, found.catalog.counts()
    left_out = {path for finding in found.findings for path in finding.leaves_out}
    widgets.metrics(
        ("images", f"{len(catalog.images):,}", "Image files, including those that cannot be read."),
        ("classes", f"{len(usable):,}", "Classes, one subfolder each."),
        ("left out", f"{len(left_out):,}", "Images excluded from training; the reasons are below."),
        (
            "class imbalance",
            _ratio(list(usable.values())),
            "Ratio of the largest to the smallest class. Class weights compensate for it: see Class imbalance below.",
        ),
    )
    lost = dict.fromkeys(usable, 0)
    for image in catalog.images:
        lost[image.label] = lost.get(image.label, 0) + (image.path in left_out)
    kept = {name: sum(1 for one in catalog.images if one.label == name) - lost[name] for name in lost}
    _counts({"usable": kept, "left out": lost}, key="class-counts")
    if catalog.ignored:
        listed = ", ".join(f"{count:,} {name}" for name, count in catalog.ignored.items())
        st.caption(f"Ignored: {plain(listed)}")
    if st.button("Check again", icon=":material/refresh:", help="After changing files in the folder."):
        looking.begin(folder)
        st.rerun()


def _ratio(counts: list[int]) -> str:
    smallest = min(counts, default=0)
    return f"{max(counts) / smallest:.1f} : 1" if smallest else "–"


def _findings(found: Look) -> None:
    widgets.section("Findings", "Problems in the data set. The folder itself is never changed.")
    if not found.findings:
        st.success("No problems found.", icon=":material/check_circle:")
        return
    kinds: dict[str, list[Finding]] = {}
    for finding in found.findings:
        kinds.setdefault(finding.kind, []).append(finding)
    for kind, alike in kinds.items():
        out = sum(len(finding.leaves_out) for finding in alike)
        words = _capital(alike[0].message) if len(alike) == 1 else f"{alike[0].title}: {len(alike)}"
        title = plain(words) + (f" · {out:,} left out" if out else "")
        with st.expander(title, icon=_ICONS[alike[0].severity], key=f"finding-{kind}", on_change="rerun") as box:
            if box.open:
                _details(alike, found.catalog.root)


def _details(alike: list[Finding], root: Path) -> None:
    """Show the findings of one kind: the recommendation, then each with its images."""
    allowed, room = looking.places(), _SHOWN
    st.markdown(plain(_capital(alike[0].do)))
    for finding in alike:
        if len(alike) > 1:
            st.caption(plain(_capital(finding.message)))
        notes = finding.details or ("",) * len(finding.paths)
        shown = list(zip(finding.paths, notes, strict=True))[:room]
        room -= len(shown)
        if shown:
            paths, words = [root / path for path, _ in shown], [note for _, note in shown]
            widgets.gallery(looking.thumbnails(paths, allowed, words))
    more = sum(len(finding.paths) for finding in alike) - (_SHOWN - room)
    if more:
        st.caption(f"and {more:,} more images")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ------------------------------------------------------------------------------------------------- prepare
def _size() -> InputSpec:
    widgets.section(
        "Model input", "All images are resized to one size. Smaller trains faster; larger keeps more detail."
    )
    one, two, three = st.columns([2, 1, 1], vertical_alignment="bottom")
    side = one.select_slider(
        "Image size, pixels",
        options=[16, 28, 32, 50, 64, 80, 96, 100, 128, 160, 200, 256],
        value=50,
        key="size",
        persist_state="session",
        help="Height and width of every prepared image. Preset sizes: "
        + ", ".join(f"{name} {preset.image_size}" for name, preset in PRESETS.items()),
    )
    color_mode: Any = two.segmented_control(
        "Color mode",
        ["grayscale", "rgb"],
        default="grayscale",
        key="color_mode",
        required=True,
        persist_state="session",
        format_func=lambda name: {"grayscale": "grayscale", "rgb": "RGB"}[name],
        help="Grayscale has a third of the data. Choose RGB if color distinguishes the classes.",
    )
    resize: Any = three.selectbox(
        "Resize mode",
        list(_RESIZES),
        key="resize",
        persist_state="session",
        format_func=_RESIZES.__getitem__,
        help="How images that are not square are made square.",
    )
    return InputSpec(height=side, width=side, color_mode=color_mode, resize=resize)


def _samples(found: Look, spec: InputSpec) -> None:
    seed = st.session_state.setdefault("sheet", 0)
    wide = 4
    drawn = looking.samples(found, spec, per_class=wide, seed=seed, classes=_CLASSES)
    st.caption(f"Each sample as the original and as the model input, {spec.height} × {spec.width} pixels.")
    for name, tiles in drawn.items():
        st.markdown(f"**{plain(name)}**")
        widgets.gallery(tiles, side=196)
    if len(found.catalog.classes) > _CLASSES:
        st.caption(f"and {len(found.catalog.classes) - _CLASSES:,} more classes")
    if st.button("More samples", icon=":material/shuffle:"):
        st.session_state["sheet"] = seed + 1
        st.rerun()


def _counts(counts: Mapping[str, Mapping[str, int]], *, key: str) -> None:
    """Draw the images of each class, by part."""
    parts = {part: per_class for part, per_class in counts.items() if any(per_class.values())}
    if rows := counts_table(parts):
        plot.show(draw_counts(rows), key=key, legend=[(part.replace(" ", "-"), part) for part in parts])


def _prepare(folder: Path, found: Look, spec: InputSpec) -> None:
    widgets.section(
        "Train / validation / test split",
        "The model learns from the training images, the validation images select the best epoch, and the test images "
        "measure the final accuracy once. Near-duplicates always stay in the same split.",
    )
    options = _options(ready_made=found.catalog.ready_made)
    manifest = looking.manifest(found, options)
    counts = manifest.counts()
    _counts(counts, key="split-counts")
    total = {name: sum(per_class.values()) for name, per_class in counts.items()}
    st.caption(
        f"{total['train']:,} training, {total['validation']:,} validation and {total['test']:,} test images; "
        f"{len(manifest.left_out):,} left out."
    )
    _left_out(manifest)
    _begin(folder, spec, options=options, manifest=manifest)


def _options(*, ready_made: bool) -> SplitOptions:
    if ready_made:
        st.info("The folder has its own train/validation/test split, which is used as it is.", icon=":material/info:")
    one, two, three = st.columns(3, vertical_alignment="bottom")
    validation = one.slider("Validation, %", 5, 40, 15, key="validation", persist_state="session", disabled=ready_made)
    test = two.slider("Test, %", 5, 40, 15, key="test", persist_state="session", disabled=ready_made)
    balance: Any = three.selectbox(
        "Class imbalance",
        list(_BALANCES),
        key="balance",
        persist_state="session",
        format_func=_BALANCES.__getitem__,
        help="Class weights make rare classes count more in the loss; undersampling leaves out images of larger "
        "classes.",
    )
    with st.expander("More options"):
        seed = st.number_input(
            "Split seed", 0, 10_000, 0, key="split-seed", help="Random seed of the train/validation/test split."
        )
        per_class = st.number_input(
            "Test images per class",
            0,
            100_000,
            0,
            key="per-class",
            help="Hold out exactly this many images per class; 0 uses the percentage instead.",
        )
    options: SplitOptions = {
        "seed": int(seed),
        "validation_split": validation / 100,
        "test_split": test / 100,
        "test_per_class": int(per_class) or None,
        "balance": balance,
    }
    return options


def _left_out(manifest: SplitManifest) -> None:
    if not manifest.left_out:
        return
    with st.expander(
        f"{len(manifest.left_out):,} images left out, with reasons", on_change="rerun", key="left-out"
    ) as box:
        if box.open:
            rows = [
                {"image": readable(one.path), "class": readable(one.label), "reason": readable(one.reason)}
                for one in manifest.left_out[:2000]
            ]
            st.dataframe(rows, hide_index=True, height=280)


def _begin(folder: Path, spec: InputSpec, *, options: SplitOptions, manifest: SplitManifest) -> None:
    settings = Settings.of()
    target = settings.work / default_prepared_folder(folder, spec, manifest)
    job = jobs.newest(settings.jobs, target=target, verb="prepare")
    if job is not None and job.active:
        widgets.watch(job, "Preparing")
        return
    done = widgets.outcome(job) if job is not None else False
    made = _made(target)
    if made is not None and (done or job is None):
        words = f"Ready: {made.total('train'):,} training images of {spec.height} × {spec.width} in {made.name}"
        st.success(plain(words), icon=":material/check_circle:")
    with st.container(horizontal=True):
        if st.button(
            "Prepare" if made is None else "Prepare again",
            type="primary" if made is None else "secondary",
            icon=":material/play_arrow:",
            help="Decodes and resizes every image once. The folder itself is never changed.",
        ):
            widgets.start(_words(folder, spec, options, target), target=target)
            st.rerun()
        if made is not None and st.button("Continue to training", type="primary", icon=":material/arrow_forward:"):
            st.session_state["choose-arrays"] = made.name
            widgets.go_to("train")


def _words(folder: Path, spec: InputSpec, options: SplitOptions, target: Path) -> list[str | Path]:
    """Return the `housetrain prepare` command of the choices on the page."""
    given: dict[str, Any] = {
        "--image-size": spec.height,
        "--color-mode": spec.color_mode,
        "--resize": spec.resize,
        "--validation-split": options["validation_split"],
        "--test-split": options["test_split"],
        "--test-per-class": options["test_per_class"],
        "--balance": options["balance"],
        "--split-seed": options["seed"],
        "--output": target,
    }
    words: list[Any] = ["prepare", folder]
    for flag, value in given.items():
        words += [] if value is None else [flag, value]
    return words


def _made(target: Path) -> shelf.Arrays | None:
    try:
        return shelf.Arrays.open(target)
    except (HousetrainError, KeyError, TypeError, ValueError, OSError):
        return None
