"""A real client over a real socket: every way to send images, errors, documentation."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from hostile import BAD, GOOD
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serve.servers import Running
from small_run import Tiny

import housetrain as ht
from housetrain.errors import DecodeError
from housetrain.images.decode import load_image


@pytest.fixture(scope="session")
def predictor(tiny: Tiny) -> ht.Predictor:
    return ht.Predictor.load(tiny.run)


def form(*files: tuple[str, bytes]) -> tuple[bytes, str]:
    """Return a multipart body and its type."""
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in files
    ]
    return b"".join(parts) + b"--limit--\r\n", "multipart/form-data; boundary=limit"


def test_curl_gets_what_predict_gives(server: Running, tiny: Tiny, photo: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    address = f"http://127.0.0.1:{server.port}/v1/predict"
    done = subprocess.run(["curl", "-sS", "--data-binary", f"@{path}", address], capture_output=True, text=True)
    wanted = next(ht.predict(tiny.run, path)).to_json()
    found = json.loads(done.stdout)["predictions"][0]
    assert {**found, "image": str(path)} == wanted
    assert set(found) == {"image", "label", "probability", "top", "margin", "unsure", "novel", "seen", "error"}


def test_rules_of_a_request_are_those_of_predict(server: Running, predictor: ht.Predictor, photo: bytes) -> None:
    plain = predictor.predict(photo)
    ruled = predictor.with_rules(set_level=0.9, accept={plain.label: 1.0}).predict(photo)
    answer = server.predict(photo, f"?set=0.9&accept={quote(plain.label)}%3D1")
    assert answer.json["predictions"] == [ruled.to_json()] and ruled.prediction_set and ruled.unsure
    assert server.predict(photo).json["predictions"] == [plain.to_json()], "only that request"
    for wrong in ("?set=0.3", "?accept=x", "?accept=none%3D0.5"):
        assert server.predict(photo, wrong).status == 422


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", ""])
def test_a_raw_body_is_an_image_whatever_its_type(
    server: Running, predictor: ht.Predictor, photo: bytes, kind: str
) -> None:
    answer = server.predict(photo, "?top=1", **({"Content_Type": kind} if kind else {}))
    wanted = predictor.predict(photo, top=1)
    assert answer.status == 200 and answer.json["model"] == "run"
    assert answer.json["predictions"] == [wanted.to_json()]


def test_forms_and_json_hold_several_images(server: Running, tiny: Tiny, predictor: ht.Predictor, photo: bytes) -> None:
    own = sorted(tiny.images.rglob("*.png"))[0]
    body, kind = form(("a.jpg", photo), ("own.png", own.read_bytes()), ("broken.jpg", photo[:300]))
    found = server.predict(body, Content_Type=kind).json["predictions"]
    assert [one["image"] for one in found] == ["a.jpg", "own.png", "broken.jpg"]
    assert found[0]["probability"] == pytest.approx(predictor.predict(photo).probability, abs=1e-6)
    assert found[1]["seen"] == predictor.predict(own).seen is not None
    assert found[2]["error"] == "truncated" and found[2]["label"] is None
    listed = [base64.b64encode(photo).decode(), {"name": "b", "data": base64.b64encode(own.read_bytes()).decode()}]
    again = server.predict(json.dumps({"images": listed}), Content_Type="application/json").json["predictions"]
    assert [one["image"] for one in again] == ["<bytes>", "b"]
    assert [one["top"] for one in again] == [one["top"] for one in found[:2]]


def test_every_odd_image_is_read_as_predict_reads_it(server: Running, predictor: ht.Predictor) -> None:
    images = {**{name: build() for name, build in GOOD.items()}, **{name: build() for name, (build, _) in BAD.items()}}
    with ThreadPoolExecutor(8) as clients:
        answers = dict(zip(images, clients.map(server.predict, images.values()), strict=True))
    for name, data in images.items():
        try:
            pixels = load_image(data, predictor.spec)
        except DecodeError as error:
            assert (answers[name].status, answers[name].json) == (422, {"error": error.reason}), name
            continue
        assert answers[name].status == 200, (name, answers[name].body)
        wanted = predictor.probabilities(pixels[None]).max()
        assert answers[name].json["predictions"][0]["probability"] == pytest.approx(wanted, abs=1e-6), name
    assert sum(answer.status == 422 for answer in answers.values()) >= 10


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"", "", "empty file"),
        (b"hello", "", "not an image"),
        (b"{", "application/json", "not JSON"),
        (b"[]", "application/json", "not a JSON object"),
        (b'{"images": []}', "application/json", "holds no images"),
        (b'{"images": ["%"]}', "application/json", "image 0 is not base64"),
        (b"[" * 100_000, "application/json", "not JSON"),
        (b"x", "multipart/form-data", "not multipart"),
        (b"x", "multipart/form-data; boundary=b", "not multipart"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", "no file"),
    ],
)
def test_a_bad_body_is_told_in_one_line(server: Running, body: bytes, kind: str, reason: str) -> None:
    answer = server.predict(body, **({"Content_Type": kind} if kind else {}))
    assert answer.status == 422 and reason in answer.json["error"]


def test_limits_of_count_and_size(server: Running, photo: bytes) -> None:
    body, kind = form(*(("a.jpg", photo) for _ in range(65)))
    assert "takes 64 per request" in server.predict(body, Content_Type=kind).json["error"]
    many = json.dumps({"images": ["eA=="] * 65})
    assert server.predict(many, Content_Type="application/json").status == 422
    declared = server.ask("/v1/predict", b"", {"Content-Length": str(100 << 20)})
    assert declared.status == 413 and "32 MiB" in declared.json["error"]
    part = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert server.raw(head, *[part] * 40).startswith(b"HTTP/1.1 413 "), "its size is not declared"


FORM = "multipart/form-data; boundary=b"
PART = b"--b\r\nContent-Disposition: form-data; name=i; filename=x\r\n\r\n"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["images", "name", "data"]), inner),
    max_leaves=6,
)
MALFORMED = st.one_of(
    st.tuples(st.binary(max_size=200), st.sampled_from(["image/png", "application/json", FORM])),
    st.tuples(VALUES.map(lambda value: json.dumps(value).encode()), st.just("application/json")),
    st.tuples(st.binary(max_size=99).map(lambda data: PART + data), st.just(FORM)),
)


@settings(
    max_examples=100, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(st.lists(MALFORMED, min_size=20, max_size=20))
def test_two_thousand_malformed_bodies_never_break_it(server: Running, sent: list[tuple[bytes, str]]) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda one: server.predict(one[0], Content_Type=one[1]), sent))
    for answer in answers:
        assert answer.status == 422 and isinstance(answer.json["error"], str)
        assert not re.search(r"Traceback|File \"|/src/|site-packages", answer.json["error"])
    assert server.ask("/healthz").status == 200


def test_models_health_metrics_and_errors(server: Running, tiny: Tiny, photo: bytes) -> None:
    (listed,) = server.ask("/v1/models").json["models"]
    assert listed["name"] == "run" and listed["classes"] == ["cats", "dogs"] and len(listed["model_sha256"]) == 64
    assert str(tiny.run.parent) not in json.dumps(listed)
    assert server.ask("/healthz").json == {"status": "ok"} and server.ask("/readyz").status == 200
    before = server.counted("housetrain_decode_failures_total"), server.counted("housetrain_batch_images_sum")
    server.predict(photo)
    server.predict(b"no image")
    assert server.counted("housetrain_decode_failures_total") == before[0] + 1
    assert server.counted("housetrain_batch_images_sum") == before[1] + 1
    assert server.counted("housetrain_queue_images") == 0 and server.counted("housetrain_request_seconds_count") > 0
    assert server.predict(photo, "?model=other").status == 404 and server.ask("/nothing").status == 404
    assert server.ask("/v1/predict").status == 405 and server.predict(photo, "?top=0").status == 422
    for path in ("/nothing", "/v1/predict?top=x", "/v1/predict"):
        assert set(server.ask(path).json) == {"error"}


def test_the_documentation_loads_nothing_from_elsewhere(server: Running) -> None:
    page = server.ask("/docs")
    text = page.body.decode()
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "/v1/predict" in text and "/v2/models/{name}/infer" in text and "<script" not in text
    assert not re.search(r"(src|href)=.https?:", text)


def test_its_own_openapi_holds(server: Running) -> None:
    """Schemathesis makes requests from the description and checks statuses, types and bodies of the responses."""
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    asked = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=15, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            checks = [not_a_server_error, content_type_conformance, response_schema_conformance]
            case.call_and_validate(checks=checks)
            asked.add(case.path)

        check()
    assert {"/v1/predict", "/v1/models", "/v2/models/{name}/infer", "/metrics"} <= asked


def test_no_other_command_imports_it() -> None:
    code = """
import sys, housetrain.cli, housetrain.serve.client
print({"fastapi", "uvicorn", "starlette", "prometheus_client"} & {*sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
