"""What fits into the server, and what is refused."""

from __future__ import annotations

import pytest

from housetrain.serve.limits import Admission, Problem


def test_a_request_that_does_not_fit_is_refused_and_takes_nothing() -> None:
    queue = Admission(images=3, bytes_=100)
    with queue.enter() as first, queue.enter() as second:
        first.take(images=2, bytes_=60)
        for more in ({"images": 2}, {"bytes_": 50}):
            with pytest.raises(Problem) as refused:
                second.take(**more)
            assert refused.value.status == 503 and refused.value.retry_s >= 1
        second.take(images=1, bytes_=40)
        with pytest.raises(Problem, match="full"), queue.enter():
            raise AssertionError("there is no room")
    assert (queue.images, queue.bytes) == (0, 0)


def test_a_request_alone_always_fits() -> None:
    queue = Admission(images=3, bytes_=100)
    with queue.enter() as share:
        share.take(images=64, bytes_=1000)
    assert (queue.images, queue.bytes) == (0, 0)


def test_a_failed_request_gives_back_what_it_took() -> None:
    queue = Admission(images=3, bytes_=100)
    with pytest.raises(ValueError, match="any"), queue.enter() as share:
        share.take(images=3, bytes_=100)
        raise ValueError("any")
    assert (queue.images, queue.bytes) == (0, 0)
