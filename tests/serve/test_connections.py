"""Slow and endless clients over real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from serve.servers import Running, running
from small_run import Tiny

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def hasty(tiny: Tiny) -> Iterator[Running]:
    """A server that waits for a client for a second."""
    with running(tiny.run, receive_s=1, answer_s=1) as started:
        yield started


@pytest.mark.parametrize("sent", [b"", b"POST /v1/pre", HEAD, HEAD + b"X-Slow: y"])
def test_a_request_that_does_not_arrive_is_closed(hasty: Running, sent: bytes) -> None:
    assert hasty.raw(sent) == b""


def test_a_trickle_of_headers_is_closed(hasty: Running) -> None:
    begin = time.monotonic()
    hasty.raw(HEAD, *[b"X: y\r\n"] * 200, pause_s=0.1)
    assert time.monotonic() - begin < 19, "each line comes in time, all of them do not"


def test_a_body_that_does_not_arrive_is_told(hasty: Running) -> None:
    answer = hasty.raw(HEAD + b"Content-Length: 1000\r\n\r\n", b"abc")
    assert answer.startswith(b"HTTP/1.1 408 ") and b"did not arrive in 1 s" in answer


def test_endless_headers_are_cut_off(server: Running) -> None:
    answer = server.raw(HEAD, *[b"X-%d: %s\r\n" % (number, b"y" * 8000) for number in range(1000)])
    assert answer.startswith(b"HTTP/1.1 400 ") or answer == b""
    assert server.ask("/healthz").status == 200


def test_a_client_that_leaves_costs_nothing(server: Running, photo: bytes) -> None:
    for sent in (HEAD + b"Content-Length: 1000\r\n\r\nabc", HEAD + b"Content-Length: %d\r\n\r\n" % len(photo) + photo):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(sent)
    server.wait_for(lambda: server.counted("housetrain_queue_images") == 0)
    assert server.predict(photo).status == 200


def test_requests_in_a_row_on_one_connection(server: Running, photo: bytes) -> None:
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(photo) + photo
    last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert server.raw(request * 3 + last).count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"nonsense\r\n\r\n"])
def test_what_is_no_http_is_refused(server: Running, sent: bytes) -> None:
    assert server.raw(sent).startswith(b"HTTP/1.1 400 ")
