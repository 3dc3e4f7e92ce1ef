"""Intact files of other formats are named, and each has a command that converts it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile import BAD, photo
from images.decoding import far, refused

from housetrain.data.catalog import scan
from housetrain.data.checks import check
from housetrain.images.decode import decode, examine
from housetrain.images.sniff import FORMATS
from housetrain.images.unsupported import NEEDS_HEIC, conversion

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)
FILES = {
    "phone.heic": (HEIC, "HEIC", "heif-convert"),
    "raw.cr2": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(400), "camera RAW", "darktable-cli"),
    "raw.cr3": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(400), "camera RAW", "darktable-cli"),
    "raw.raf": (b"FUJIFILMCCD-RAW 0201" + bytes(400), "camera RAW", "darktable-cli"),
    "layers.psd": (b"8BPS\0\1" + bytes(400), "Photoshop", "magick"),
    "scan.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(400), "JPEG 2000", "opj_decompress"),
    "new.jxl": (b"\xff\x0a" + bytes(400), "JPEG XL", "djxl"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG", "rsvg-convert"),
    "chest.dcm": (bytes(128) + b"DICM" + bytes(400), "DICOM", "dcmj2pnm"),
    "face.pgm": (b"P5\n92 112\n255\n" + bytes(92 * 112), "PNM", "magick"),
    "old.tga": (bytes(400) + b"TRUEVISION-XFILE.\0", "TGA", "PNG"),
    "icon.icns": (b"icns" + bytes(400), "ICNS", "PNG"),
    "game.dds": (b"DDS " + bytes(400), "DDS", "PNG"),
    "new.qoi": (b"qoif" + bytes(400), "QOI", "PNG"),
    "draw.xcf": (b"gimp xcf v011\0" + bytes(400), "GIMP", "GIMP"),
    "print.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript", "gs "),
    "brain.nii": (b"\x5c\1\0\0" + bytes(340) + b"n+1\0", "NIfTI", "slices"),
    "cells.czi": (b"ZISRAWFILE" + bytes(400), "microscope image", "bfconvert"),
    "matroska.jpg": (b"\x1a\x45\xdf\xa3" + bytes(400), "video", "ffmpeg"),
    "riff.jpg": (b"RIFF\0\0\0\0AVI LIST" + bytes(400), "video", "ffmpeg"),
    "raw.mrw": (b"\0MRM" + bytes(400), "camera RAW", "darktable-cli"),
    "cloned.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer", "git lfs pull"),
    "clip.jpg": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(400), "video", "ffmpeg"),
}


def hide_heic(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """As if the package were not installed, in this process and in those that it starts."""
    folder.mkdir(exist_ok=True)
    (folder / "pillow_heif.py").write_text("raise ModuleNotFoundError('No module', name='pillow_heif')\n")
    patch.delitem(sys.modules, "pillow_heif", raising=False)
    patch.syspath_prepend(folder)


@pytest.fixture
def without_heic(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    hide_heic(monkeypatch, tmp_path_factory.mktemp("hidden"))


@pytest.mark.usefixtures("without_heic")
@pytest.mark.parametrize("name", FILES)
def test_an_unsupported_file_has_its_name_and_a_command(name: str) -> None:
    data, format_, command = FILES[name]
    reason = refused(data)
    assert reason.startswith(f"not a supported image ({format_}") and command in conversion(reason)


@pytest.mark.parametrize(
    "reason", ["truncated", "damaged (wrong checksum of IDAT)", "not an image (HTML)", "empty file"]
)
def test_a_corrupt_file_cannot_be_converted(reason: str) -> None:
    assert conversion(reason) == ""


def test_every_reason_of_an_intact_file_has_a_way_out() -> None:
    for _, reason in BAD.values():
        corrupt = reason.startswith(("truncated", "damaged", "empty", "not an image"))
        assert bool(conversion(reason)) is not corrupt, reason


@pytest.mark.usefixtures("without_heic")
def test_check_does_not_call_them_corrupt(tmp_path: Path) -> None:
    for name, (data, _, _) in FILES.items():
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / name).write_bytes(data)
    found = [one for one in check(scan(tmp_path, cache=False)) if one.leaves_out]
    assert {one.kind for one in found} == {"unsupported"}
    assert {path for one in found for path in one.leaves_out} == {f"a/{name}" for name in FILES}
    (phones,) = [one for one in found if one.paths == ("a/phone.heic",)]
    assert "pillow-heif" in phones.message and "pip install pillow-heif" in phones.do


def test_heic_is_tried_again_after_the_extra_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSETRAIN_CACHE", str(tmp_path / "cache"))
    pillow_heif = pytest.importorskip("pillow_heif")
    from PIL import Image

    image = photo(240, 320, seed=24)
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(image)).save(file, quality=90)
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/a/phone.jpg").write_bytes(file.getvalue())
    with monkeypatch.context() as patch:
        hide_heic(patch, tmp_path / "hidden")
        assert [one.reason for one in scan(tmp_path / "in", workers=1).images] == [NEEDS_HEIC]
    (record,) = scan(tmp_path / "in", workers=1).images
    assert record.usable and record.header[:3] == ("HEIC", 320, 240)
    assert far(decode(file.getvalue()), image) < 6
    for share in (0.3, 0.9):
        assert refused(file.getvalue()[: int(len(file.getvalue()) * share)]) == "truncated"
    for orientation in (3, 6):
        exif = Image.Exif()
        exif[274] = orientation
        turned = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(image)).save(turned, quality=90, exif=exif.tobytes())
        pixels = examine(turned.getvalue()).pixels
        assert pixels.shape[:2] == ((320, 240) if orientation == 6 else (240, 320))
        assert far(pixels, np.rot90(image, 2 if orientation == 3 else -1)) < 6


def test_the_readme_lists_the_formats() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").upper()
    assert [name for name in FORMATS if name not in readme] == []


def test_formats_with_one_way_out_are_named_together(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("game.dds", "new.qoi", "icon.icns"):
        (tmp_path / "a" / name).write_bytes(FILES[name][0])
    (found,) = [one for one in check(scan(tmp_path, cache=False)) if one.kind == "unsupported"]
    assert found.message == "3 files cannot be used as they are: formats that are not read (DDS, ICNS and QOI)"
