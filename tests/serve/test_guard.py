"""The Host header, web pages of other origins, and cross-origin requests that are asked for."""

from __future__ import annotations

import pytest
from serve.servers import Running, running
from small_run import Tiny


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "LOCALHOST", "[::1]:8000", "[::1]"])
def test_names_of_this_machine(server: Running, host: str) -> None:
    assert server.ask("/v1/models", headers={"Host": host}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::2]"])
def test_another_host_is_dns_rebinding(server: Running, host: str) -> None:
    for path in ("/v1/models", "/healthz", "/docs"):
        answer = server.ask(path, headers={"Host": host})
        assert answer.status == 400 and "Host" in answer.json["error"]


def test_web_pages_of_other_origins_are_refused(server: Running, photo: bytes) -> None:
    answer = server.predict(photo, Origin="https://evil.example")
    assert answer.status == 403 and "Access-Control-Allow-Origin" not in answer.headers
    own = {"Host": f"localhost:{server.port}", "Origin": f"http://localhost:{server.port}"}
    assert server.ask("/v1/predict", photo, own).status == 200
    assert server.ask("/v1/predict", photo, {"Origin": "null"}).status == 403


def test_hosts_and_origins_that_are_asked_for(tiny: Tiny, photo: bytes) -> None:
    access = {"hosts": ["models.example"], "origins": ["https://shop.example"]}
    with running(tiny.run, access=access) as server:
        shop = {"Host": "models.example", "Origin": "https://shop.example"}
        answer = server.ask("/v1/predict", photo, shop)
        assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        before = server.ask("/v1/predict", headers={**shop, "Access-Control-Request-Method": "POST"}, method="OPTIONS")
        assert before.status == 200 and "POST" in before.headers["Access-Control-Allow-Methods"]
        assert server.ask("/v1/models", headers={"Host": "other.example"}).status == 400
        assert server.predict(photo, Origin="https://evil.example").status == 403
