"""Where a server listens: addresses, ports and the secret that an open address requires.

In: an address, a port. Out: a checked address, a free port, or one clear error. Does not know: what is served.
"""

from __future__ import annotations

import ipaddress
import os
import socket

from housetrain.errors import HousetrainError

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""The Host headers of a server on this machine only: any other one is DNS rebinding."""

SHORTEST_SECRET = 8


def check_address(address: str, *, secret: str, service: str) -> None:
    """Refuse an address that other machines can reach, unless a secret is set.

    Args:
        address: An IP address, or ``localhost``.
        secret: Name of the environment variable that holds the secret.
        service: What listens, such as ``"the studio"``.

    Raises:
        HousetrainError: It is not an IP address, or the secret is missing or too short.
    """
    try:
        loopback = is_loopback(address)
    except ValueError:
        raise HousetrainError("Invalid address", expected="an IP address, such as 127.0.0.1", address=address) from None
    kind = secret.rpartition("_")[2].lower()
    if not loopback and len(os.environ.get(secret, "")) < SHORTEST_SECRET:
        raise HousetrainError(
            f"Other machines could reach {service} at this address without a {kind}",
            expected=f"a {kind} of at least {SHORTEST_SECRET} characters in {secret}",
            do=f"set the {kind}, or omit --address",
            address=address,
        )


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach the address.

    Raises:
        ValueError: It is not an IP address.
    """
    return ipaddress.ip_address("127.0.0.1" if address == "localhost" else address).is_loopback


def allowed_hosts(address: str) -> tuple[str, ...]:
    """Return the names that a Host header may have; none for any name, at an address that stands for all of them."""
    if is_loopback(address):
        return tuple(dict.fromkeys([*LOCAL_HOSTS, address]))
    return () if address in ("0.0.0.0", "::") else (address,)


def listening_socket(address: str, port: int, *, service: str) -> socket.socket:
    """Return a socket that is bound to the port; 0 picks a free one.

    Raises:
        HousetrainError: The port is in use.
    """
    # With the protocol named, asyncio switches Nagle's algorithm off: without, each response waits 40 ms for an ACK.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address, port))
    except OSError as error:
        bound.close()
        raise HousetrainError(
            f"{service[:1].upper()}{service[1:]} cannot listen on this port",
            do="choose another --port",
            port=port,
            reason=error.strerror,
        ) from error
    return bound


def free_port(address: str, port: int, *, service: str) -> int:
    """Return ``port`` if it is free, or any free port for 0.

    Raises:
        HousetrainError: The port is in use.
    """
    with listening_socket(address, port, service=service) as bound:
        return int(bound.getsockname()[1])
