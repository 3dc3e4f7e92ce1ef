"""What the addresses of both protocols share: reading a body, and what errors look like.

In: requests. Out: bytes, and the documentation of errors. Does not know: what is in a body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from housetrain.errors import RecipeError
from housetrain.inference.decision import thresholds_of
from housetrain.inference.predictor import Predictor
from housetrain.serve.limits import Problem, Share
from housetrain.serve.service import Service


class Error(BaseModel):
    """Why a request got no answer."""

    error: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of errors, with those that every request may get."""
    return {status: {"model": Error, "description": "Refused"} for status in (400, 401, 403, *statuses)}


async def body_of(request: Request, service: Service, share: Share) -> bytes:
    """Return the body of a request; its memory counts.

    Raises:
        Problem: It does not arrive in time, or does not fit.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(service.limits.receive_s):
            async for part in request.stream():
                share.take(bytes_=len(part))
                body += part
    except TimeoutError as error:
        raise Problem(408, f"The body did not arrive in {service.limits.receive_s:g} s.") from error
    except ClientDisconnect as error:
        raise Problem(400, "The client left.") from error
    return bytes(body)


def rules_of(predictor: Predictor, set_level: float | None, accept: Sequence[str] | None) -> Predictor:
    """Return the predictor with the rules of a request. See `Predictor.with_rules`.

    Raises:
        Problem: A rule is invalid, or the model cannot follow it.
    """
    try:
        return predictor.with_rules(set_level=set_level, accept=thresholds_of(accept))
    except RecipeError as error:
        raise Problem(422, f"{error.what}.") from error


def must_be_ready(service: Service) -> None:
    """Refuse to be ready.

    Raises:
        Problem: The server is starting or stopping.
    """
    if not service.ready:
        raise Problem(503, "The server is starting or stopping.", retry_s=1)
