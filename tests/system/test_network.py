"""Which addresses need a secret, which Host headers they take, and which ports are free."""

from __future__ import annotations

import socket

import pytest

from housetrain.errors import HousetrainError
from housetrain.system import network

WORDS = {"secret": "TEST_PASSWORD", "service": "the page"}


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1"])
def test_an_address_that_others_reach_needs_a_secret(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_PASSWORD", raising=False)
    with pytest.raises(HousetrainError, match="password"):
        network.check_address(address, **WORDS)
    monkeypatch.setenv("TEST_PASSWORD", "short")
    with pytest.raises(HousetrainError, match="at least 8"):
        network.check_address(address, **WORDS)
    monkeypatch.setenv("TEST_PASSWORD", "long enough")
    network.check_address(address, **WORDS)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_this_machine_needs_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_PASSWORD", raising=False)
    network.check_address(address, **WORDS)


def test_a_word_is_no_address() -> None:
    with pytest.raises(HousetrainError, match="Invalid address"):
        network.check_address("everywhere", **WORDS)


def test_a_host_header_names_this_machine_or_the_address() -> None:
    assert set(network.allowed_hosts("127.0.0.1")) == {"localhost", "127.0.0.1", "::1"}
    assert network.allowed_hosts("192.168.1.5") == ("192.168.1.5",)
    assert network.allowed_hosts("0.0.0.0") == network.allowed_hosts("::") == ()


def test_a_taken_port_is_told_in_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(HousetrainError, match=r"The page cannot listen on this port.*another --port"):
            network.free_port("127.0.0.1", other.getsockname()[1], service="the page")
    assert network.free_port("127.0.0.1", 0, service="the page") > 0


def test_a_listening_socket_is_one_whose_connections_send_at_once() -> None:
    """asyncio switches Nagle's algorithm off only where the protocol is named; else each response waits 40 ms."""
    with network.listening_socket("127.0.0.1", 0, service="the page") as bound:
        assert bound.proto == socket.IPPROTO_TCP
