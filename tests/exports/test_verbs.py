"""The verbs that use a model, as a person types them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from housetrain.exports import bundle
from housetrain.inference import formats


def test_export_prints_the_comparison_and_predict_takes_what_it_made(call: Any, digits: Any, tmp_path: Path) -> None:
    code, out, err = call("export", digits.run.folder, "--format", "litert", "--output", tmp_path / "phone")
    assert code == 0, err
    head, keras, litert, *_ = out.splitlines()
    assert head.split()[:2] == ["format", "size"] and "accuracy" in head
    assert keras.startswith("keras fp32") and litert.startswith("litert fp32") and "100.0 %" in litert
    assert str(tmp_path / "phone") in out
    photo = next(digits.images.rglob("*.png"))
    code, out, err = call("predict", tmp_path / "phone", photo, "--json")
    assert (code, err) == (0, "") and json.loads(out)["label"] in "0123456789"
    code, out, _ = call("predict", tmp_path / "phone", photo, "--csv", "names.csv", "--top", "3")
    assert code == 0 and out.startswith("1 image in names.csv")
    assert Path("names.csv").read_text().splitlines()[0].endswith("label_3,probability_3")


def test_an_unsure_answer_is_called_so(call: Any, digits: Any, tmp_path: Path) -> None:
    folder = bundle.export(digits.run, tmp_path / "bundle").folder
    photo = next(digits.images.rglob("*.png"))
    about = json.loads((folder / "bundle.json").read_bytes())
    assert about["decision"]["images"] == len(digits.prepared.validation.labels)
    from housetrain.system import store

    for threshold, there in ((0.0, False), (0.999999, True)):
        changed = {**about, "decision": {**about["decision"], "threshold": threshold}}
        store.write_json_atomic(folder / "bundle.json", changed)
        store.write_manifest(folder)
        assert ("(unsure)" in call("predict", folder, photo)[1]) == there
        assert json.loads(call("predict", folder, photo, "--json")[1])["unsure"] == there


def test_benchmark_is_a_row_for_each_form_and_leaves_nothing_behind(
    call: Any, digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {name: formats.FORMATS[name] for name in ("keras", "onnx", "openvino")}
    for name, precisions in (("onnx", ("fp32",)), ("openvino", ("fp32", "int8"))):
        kept[name] = dataclasses.replace(kept[name], precisions=precisions)

    def broken(precision: Any) -> tuple[str, ...]:
        return ("no_such_library",) if precision == "int8" else ()

    kept["openvino"] = dataclasses.replace(kept["openvino"], needs=broken)
    monkeypatch.setattr(bundle, "FORMATS", kept)
    monkeypatch.setattr(formats, "FORMATS", kept)
    before = sorted(digits.run.folder.rglob("*"))
    code, out, err = call("benchmark", digits.run.folder, "--json")
    assert code == 0, err
    made = json.loads(out)
    assert [(row["format"], row["precision"]) for row in made["parity"]] == [
        ("keras", "fp32"),
        ("onnx", "fp32"),
        ("openvino", "fp32"),
    ]
    assert "no_such_library is missing" in made["left_out"]["openvino int8"]
    assert sorted(digits.run.folder.rglob("*")) == before
