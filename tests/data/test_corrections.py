"""Label corrections: the file, and what it does to a folder of images, which is never changed."""

from __future__ import annotations

import csv
import hashlib
import threading
from pathlib import Path

import pytest
from data.made_up_catalogs import image
from events_of import Listener
from noise_folders import folder_of

import housetrain as ht
from housetrain.data import corrections
from housetrain.data.class_map import ClassMap
from housetrain.data.corrections import COLUMNS, LEAVE_OUT, Corrections, Decision, record, take_back
from housetrain.errors import FolderError


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(file: Path, *rows: tuple[str, ...], header: tuple[str, ...] = ("path", "sha256", "corrected")) -> Path:
    file.write_text("\n".join(",".join(row) for row in (header, *rows)) + "\n", encoding="utf-8")
    return file


# ------------------------------------------------------------------------------------------------- the file
def test_the_last_decision_counts_and_undo_brings_back_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "corrections.csv"
    first = Decision.now("a/1.png", "ab" * 32, "a", "b")
    record(file, first)
    record(file, second := Decision.now("a/1.png", "ab" * 32, "a", LEAVE_OUT))
    assert Corrections.read(file).of("elsewhere.png", "ab" * 32) == second
    take_back(file, second, first)
    found = Corrections.read(file).of("a/1.png", "ab" * 32)
    assert found is not None and found.corrected == "b"
    take_back(file, first, None)
    assert Corrections.read(file).of("a/1.png", "ab" * 32) is None
    rows = list(csv.reader(file.open()))
    assert rows[0] == list(COLUMNS) and len(rows) == 5  # the whole story stays
    assert rows[1][:4] == ["a/1.png", "ab" * 32, "a", "b"] and rows[1][5].endswith("Z")


def test_odd_names_and_formulas_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "corrections.csv"
    names = ['=cmd|" /C calc"!A0/1.png', "a,b/ü\n.png", "b/\udce9.png", "'-x/1.png"]
    for number, name in enumerate(names):
        record(file, Decision.now(name, f"{number:064x}", "-1", "=b"))
    found = Corrections.read(file)
    assert [one.path for one in found.decisions] == names
    assert {one.corrected for one in found.decisions} == {"=b"}
    assert b"\n=cmd" not in file.read_bytes()


def test_a_spreadsheet_may_rewrite_the_file_and_decisions_are_appended_in_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "corrections.csv"
    file.write_bytes("\ufeffSHA256;Note;Corrected\r\n".encode() + f"{1:064x};x;b\r\n{2:064x};;".encode())
    record(file, Decision.now("a/3.png", f"{3:064x}", "a", "b"))
    found = Corrections.read(file)
    assert set(found.by_content) == {f"{1:064x}", f"{3:064x}"}


def test_half_a_row_of_a_crash_costs_that_row_alone(tmp_path: Path) -> None:
    file = tmp_path / "corrections.csv"
    record(file, Decision.now("a/1.png", f"{1:064x}", "a", "b"))
    whole = file.read_bytes()
    record(file, Decision.now("a/2.png", f"{2:064x}", "a", "b"))
    for size in range(len(whole), file.stat().st_size - 21):  # up to the beginning of the time
        torn = tmp_path / "torn.csv"
        torn.write_bytes(file.read_bytes()[:size])
        record(torn, Decision.now("a/3.png", f"{3:064x}", "a", "b"))
        assert set(Corrections.read(torn).by_content) == {f"{1:064x}", f"{3:064x}"}


def test_threads_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "corrections.csv"

    def work(start: int) -> None:
        for number in range(start, start + 20):
            record(file, Decision.now(f"{number}.png", f"{number:064x}", "a", "b"))

    threads = [threading.Thread(target=work, args=(100 * number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(Corrections.read(file)) == 80


def test_an_unanswered_row_of_a_list_is_no_decision(tmp_path: Path) -> None:
    file = write(tmp_path / "issues.csv", ("a/1.png", "1" * 64, "b"), ("a/1.png", "1" * 64, ""), ("a/2.png", "", "b"))
    found = Corrections.read(file)
    assert found.of("a/1.png", "1" * 64) is not None
    assert found.of("a/2.png", "2" * 64) is not None and found.of("a/3.png", "3" * 64) is None


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "corrected\ncat\n", "\0\1\2"])
def test_anything_else_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(FolderError, match="no table of corrections"):
        Corrections.read(tmp_path / "c.csv")


def test_a_missing_file_and_a_folder_are_one_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(FolderError, match="cannot be read"):
            Corrections.read(path)
    assert len(Corrections.read(tmp_path / "none.csv", missing_ok=True)) == 0


# ------------------------------------------------------------------------------------------------- what it does
def test_a_decision_is_about_the_content_wherever_it_lies() -> None:
    images = [image("a/1.png", "a", content="x"), image("b/copy.png", "b", content="x"), image("a/2.png", "a")]
    decided = Decision("a/old-name.png", images[0].sha256, "a", "b")
    found = Corrections(Path("c.csv"), {decided.sha256: decided}).apply(images, "ab")
    assert [one.label for one in found.images] == ["b", "b", "a"]
    assert found.relabeled == {"a/1.png": "a"} and found.stale == 0
    assert found.note == "c.csv: 1 image relabeled, 0 left out, 1 confirmed"


def test_rows_that_fit_no_image_are_named_and_not_used() -> None:
    images = [image("a/1.png", "a"), image("a/2.png", "a")]
    gone, changed = Decision("a/9.png", "9" * 64, "a", "b"), Decision("a/1.png", "8" * 64, "a", "b")
    found = Corrections(Path("c.csv"), {one.sha256: one for one in (gone, changed)}).apply(images, "ab")
    assert found.images == images and found.stale == 2
    assert "1 row not used, another file lies there now: a/1.png" in found.note
    assert "1 row of images that are not here: a/9.png" in found.note


def test_unknown_classes_are_one_line_with_all_of_them() -> None:
    rows = [
        Decision(f"a/{n}.png", f"{n:064x}", "a", name) for n, name in enumerate(("Dgo", "Dgo", "b", LEAVE_OUT, "c"))
    ]
    with pytest.raises(FolderError) as error:
        Corrections(Path("c.csv"), {one.sha256: one for one in rows}).apply([], "ab")
    assert "no class 'Dgo' (a/0.png and a/1.png); there is no class 'c'" in str(error.value)
    assert "Expected: a, b or leave out" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FolderError, match="a class is named"):
        Corrections(Path("c.csv")).apply([], ["a", LEAVE_OUT])


def test_a_corrected_label_may_have_the_name_before_the_class_map() -> None:
    images = [image("1.png", "pet"), image("2.png", "wild")]
    one = Decision("2.png", images[1].sha256, "wild", "Katze")
    found = Corrections(Path("c.csv"), {one.sha256: one}).apply(
        images, ("pet", "wild"), class_map=ClassMap({"Katze": "pet"})
    )
    assert found.images[1].label == "pet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "images", cat=12, dog=12)


def test_scan_split_and_prepare_respect_the_file_and_the_folder_stays(folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    files = list(before)
    wrong, out = files[0], files[1]
    rows = [(one.relative_to(folder).as_posix(), sha(one), word) for one, word in ((wrong, "dog"), (out, LEAVE_OUT))]
    file = write(tmp_path / "corrections.csv", *rows)
    plain = ht.split(ht.scan(folder))
    catalog = ht.scan(folder, corrections=file)
    manifest = ht.split(catalog)
    assert {row.label for row in manifest.rows if row.path == rows[0][0]} == {"dog"}
    assert [(one.path, one.reason) for one in manifest.left_out] == [(rows[1][0], f"corrections: {LEAVE_OUT}")]
    assert manifest.corrections == (1, 1) and plain.corrections == (0, 0)
    assert manifest.fingerprint != plain.fingerprint and "corrections" not in plain.options
    [finding] = [one for one in ht.check(catalog) if one.kind == "corrections"]
    assert finding.leaves_out == (rows[1][0],) and finding.details[0] == "labeled cat in the folder"
    prepared = ht.prepare(manifest, tmp_path / "prepared", image_size=8)
    assert prepared.split.corrections == (1, 1)
    assert ht.Catalog.from_json(catalog.to_json()) == catalog
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before


def test_a_correction_decides_between_two_labels_of_one_image(folder: Path, tmp_path: Path) -> None:
    source = next((folder / "cat").iterdir())
    copy = folder / "dog" / "copy.png"
    copy.write_bytes(source.read_bytes())
    left_out = {one.path for one in ht.split(ht.scan(folder)).left_out}
    assert left_out == {f"cat/{source.name}", "dog/copy.png"}
    file = write(tmp_path / "corrections.csv", ("dog/copy.png", sha(copy), "cat"))
    manifest = ht.split(ht.scan(folder, corrections=file))
    assert [row.label for row in manifest.rows if row.sha256 == sha(source)] == ["cat"]


def test_what_the_file_changed_is_said_while_scanning(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []

    file = write(tmp_path / "corrections.csv", ("cat/none.png", "5" * 64, "dog"))
    ht.scan(folder, corrections=file, callbacks=[Listener(lambda event: said.append(str(event.get("text"))))])
    assert [text for text in said if text != "None"] == [
        "corrections.csv: 0 images relabeled, 0 left out, 0 confirmed; 1 row of images that are not here: cat/none.png"
    ]


def test_only_rows_are_read_never_formulas_or_links(tmp_path: Path) -> None:
    assert corrections.MOST_BYTES < 1 << 30
    (tmp_path / "link.csv").symlink_to("/dev/zero")
    with pytest.raises(FolderError):
        Corrections.read(tmp_path / "link.csv")
