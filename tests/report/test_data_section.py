"""What the report says of the images: counts, samples, findings, what is left out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from handmade_runs import MakeRun

from housetrain.data.findings import Finding
from housetrain.data.split_manifest import LeftOut, SplitManifest
from housetrain.report.data_section import data_section
from housetrain.report.thumbnails import Album
from housetrain.training.run import Run


def section(run: Run, *findings: Finding, **facts: Any) -> dict[str, Any]:
    return data_section(run, {"findings": [asdict(one) for one in findings], **facts}, Album(run.split.root, run.spec))


def finding(kind: str, severity: str, paths: tuple[str, ...], **more: Any) -> Finding:
    return Finding(kind, severity, paths, f"message of {kind}", "do", title=f"title of {kind}", **more)  # type: ignore[arg-type]


def test_counts_and_totals_are_those_of_the_split(make_run: MakeRun) -> None:
    run = make_run()
    found = section(run)
    counts = run.split.counts()
    assert {row.name: dict(row.parts) for row in found["counts"]} == {
        label: {name: counts[name][label] for name in found["splits"]} for label in run.classes
    }
    assert found["totals"] == [24, 8, 8, 40] and found["spec"] == run.spec
    assert found["balance"] == run.split.options["balance"]


@pytest.mark.parametrize(("classes", "samples"), [(2, 8), (3, 4), (5, 3), (13, 2)])
def test_samples_are_train_images_of_each_class(make_run: MakeRun, classes: int, samples: int) -> None:
    names = tuple(f"class {number:02}" for number in range(classes))
    run = make_run(names, per_class=15)
    found = section(run)["samples"]
    train = {row.path for row in run.split.of("train")}
    assert list(found) == list(names) and {len(one) for one in found.values()} == {samples}
    for name, thumbnails in found.items():
        assert all(one.path in train and one.path.startswith(f"{name}/") and one.image for one in thumbnails)


def test_only_the_first_classes_of_many_have_samples(make_run: MakeRun) -> None:
    run = make_run(tuple(f"class {number:02}" for number in range(50)), per_class=5)
    found = section(run)
    assert len(found["samples"]) == 48 and len(found["counts"]) == 50


def test_reasons_are_grouped_the_most_frequent_first(make_run: MakeRun) -> None:
    left_out = [
        LeftOut(path, "cats", reason) for path, reason in (("x", "small"), ("b", "empty"), ("c", "dark"), ("d", "dark"))
    ]
    found = section(make_run(left_out=left_out))
    assert found["left_out"] == 4
    assert [(reason, sorted(paths)) for reason, paths in found["reasons"]] == [
        ("dark", ["c", "d"]), ("empty", ["b"]), ("small", ["x"])
    ]  # fmt: skip


def test_missing_facts_are_not_the_same_as_no_findings(make_run: MakeRun) -> None:
    run = make_run()
    album = Album(run.split.root, run.spec)
    never = data_section(run, {}, album)
    assert (never["checked"], never["findings"], never["facts"]) == (False, [], None)
    clean = section(run, catalog={"images": 40})
    assert (clean["checked"], clean["findings"], clean["facts"]) == (True, [], {"images": 40})


def test_findings_are_one_entry_a_kind_errors_first(make_run: MakeRun) -> None:
    found = section(
        make_run(),
        finding("note", "note", ("cats/1.png",)),
        finding("twins", "warning", ("cats/1.png", "cats/2.png"), leaves_out=("cats/2.png",)),
        finding("broken", "error", ("dogs/1.png",)),
        finding("twins", "warning", ("cats/2.png", "cats/3.png"), leaves_out=("cats/2.png", "cats/3.png")),
    )["findings"]
    assert [one["title"] for one in found] == ["title of broken", "title of twins", "title of note"]
    twins = found[1]
    assert (twins["images"], twins["left_out"], len(twins["items"]), twins["more"]) == (3, 2, 2, 0)
    assert twins["items"][0]["leaves_out"] == {"cats/2.png"}


def test_many_findings_and_many_images_are_cut_and_counted(make_run: MakeRun) -> None:
    paths = tuple(f"cats/{number}.png" for number in range(20))
    one, many = section(
        make_run(),
        finding("a", "warning", paths, details=("first",)),
        *(finding("b", "warning", paths[:5]) for _ in range(15)),
    )["findings"]
    [item] = one["items"]
    assert (len(item["thumbnails"]), item["more"]) == (12, 8)
    assert [detail for _, detail in item["thumbnails"]] == ["first", *[""] * 11]
    assert (len(many["items"]), many["more"]) == (12, 3)
    assert all((len(one["thumbnails"]), one["more"]) == (2, 3) for one in many["items"])


def test_an_unreadable_image_is_not_decoded_again(make_run: MakeRun) -> None:
    run = make_run()
    path = "cats/1.png"  # readable: shown by any other finding
    broken, dark = section(
        run, finding("unreadable", "error", (path,), details=("timeout",)), finding("dark", "warning", (path,))
    )["findings"]
    [(hidden, detail)] = broken["items"][0]["thumbnails"]
    assert (hidden.image, hidden.reason, detail) == (None, "timeout", "timeout")
    assert dark["items"][0]["thumbnails"][0][0].image


def test_the_number_of_corrections_is_said(make_run: MakeRun) -> None:
    run = make_run()
    assert section(run)["corrections"] == ""
    manifest = run.split
    changed = SplitManifest.of_rows(
        manifest.root, run.classes, rows=manifest.rows,
        options={**manifest.options, "corrections": {"relabeled": 3, "left_out": 1}},
    )  # fmt: skip
    changed.save(run.folder)
    assert section(run)["corrections"] == "a person corrected 3 labels and left out 1 image"
