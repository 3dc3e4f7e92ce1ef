"""A kind of finding is added in one place: a registered check appears in `check`, its JSON, its CSV and the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from handmade_runs import fill_run, write_images
from typer.testing import CliRunner

import housetrain as ht
from housetrain.cli.app import app
from housetrain.data.catalog import Catalog
from housetrain.data.checks import KINDS
from housetrain.data.findings import SEVERITIES, Noticed, finding_kind, write_findings
from housetrain.report.report import write_report


@pytest.fixture
def toy() -> Iterator[None]:
    """The one place."""

    @finding_kind("square", "Square images", severity="warning", do="photograph it again, wider")
    def _square(catalog: Catalog) -> Iterator[Noticed]:
        paths = tuple(image.path for image in catalog.usable if image.header.width == image.header.height)
        yield Noticed(f"{len(paths)} images are square", paths)

    yield
    del KINDS["square"]


@pytest.mark.usefixtures("toy", "looked")
def test_a_registered_check_is_everywhere(tmp_path: Path) -> None:
    files = write_images(tmp_path / "images", ("Cat", "Dog"), per_class=4)
    catalog = ht.scan(tmp_path / "images")
    findings = ht.check(catalog)
    (found,) = [one for one in findings if one.kind == "square"]
    assert (found.title, found.severity, found.do) == ("Square images", "warning", "photograph it again, wider")
    assert len(found.paths) == len(files) == 8 and found.message == "8 images are square"

    answer = CliRunner().invoke(app, ["check", str(tmp_path / "images"), "--json"])
    kinds = {one["kind"]: one["title"] for one in json.loads(answer.stdout)["findings"]}
    assert kinds["square"] == "Square images"

    write_findings(findings, tmp_path / "findings.csv")
    assert (tmp_path / "findings.csv").read_text().count("square,warning,") == 8

    run = fill_run(tmp_path / "run", ht.split(catalog, findings=findings))
    page = write_report(run, catalog=catalog, findings=findings).read_text()
    assert "Square images" in page and "photograph it again, wider" in page.lower()


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="already"):
        finding_kind("dark", "Dark", severity="note", do="look")(lambda catalog: ())


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_has_words(name: str) -> None:
    kind = KINDS[name]
    assert kind.name == name and kind.severity in SEVERITIES
    assert kind.title[0].isupper() and not kind.title.endswith(".")
    assert kind.do and kind.do[0].islower() and not kind.do.endswith(".")
