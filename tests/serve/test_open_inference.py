"""The Open Inference Protocol over a real socket, in JSON and in bytes as Triton's clients send them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from serve.servers import Running
from small_run import Tiny

import housetrain as ht

INFER = "/v2/models/run/infer"


def test_arrays_get_the_probabilities_of_the_predictor(server: Running, tiny: Tiny) -> None:
    about = server.ask("/v2/models/run").json
    (entry,), (out,) = about["inputs"], about["outputs"]
    assert entry["shape"][0] == -1 and entry["datatype"] == "UINT8" and out["shape"] == [-1, 2]
    images = np.random.default_rng(0).integers(0, 256, (5, *entry["shape"][1:]), dtype=np.uint8)
    wanted = ht.Predictor.load(tiny.run).probabilities(images)
    tensor = {"name": entry["name"], "datatype": "UINT8", "shape": list(images.shape)}
    plain = json.dumps({"id": "a", "inputs": [{**tensor, "data": images.reshape(-1).tolist()}]})
    answer = server.ask(INFER, plain, {"Content-Type": "application/json"}).json
    assert (answer["model_name"], answer["id"]) == ("run", "a")
    (output,) = answer["outputs"]
    given = np.array(output["data"], np.float32).reshape(output["shape"])
    assert output["name"] == out["name"] and np.abs(given - wanted).max() < 1e-6

    head = json.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": images.nbytes}}],
            "outputs": [{"name": out["name"], "parameters": {"binary_data": True}}],
        }
    ).encode()
    raw = server.ask(INFER, head + images.tobytes(), {"Inference-Header-Content-Length": str(len(head))})
    length = int(raw.headers["Inference-Header-Content-Length"])
    assert json.loads(raw.body[:length])["outputs"][0]["parameters"]["binary_data_size"] == 40
    assert np.abs(np.frombuffer(raw.body[length:], "<f4").reshape(5, 2) - wanted).max() < 1e-6


def test_server_and_model_are_ready(server: Running) -> None:
    assert server.ask("/v2").json["name"] == "housetrain"
    assert server.ask("/v2/health/live").status == server.ask("/v2/health/ready").status == 200
    assert server.ask("/v2/models/run/ready").json == {"name": "run", "ready": True}
    assert server.ask("/v2/models/other").status == server.ask("/v2/models/other/ready").status == 404


@pytest.mark.parametrize(
    ("body", "length", "reason"),
    [("{}", "", "one tensor"), ("", "", "not JSON"), ("{}", "x", "not a number"), ("{}", "9" * 30, "not a number")],
)
def test_a_bad_request_is_told(server: Running, body: str, length: str, reason: str) -> None:
    answer = server.ask(INFER, body, {"Inference-Header-Content-Length": length} if length else {})
    assert answer.status == 422 and reason in answer.json["error"]
