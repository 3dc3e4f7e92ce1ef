"""A stand-in for Ray that runs each task inside `wait`: what the quick tests need of a cluster, in no time."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from housetrain.system import cluster


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class TaskCancelledError(RayError):
    pass


class NodeDiedError(RayError):
    pass


class RuntimeEnvSetupError(RayError):
    pass


class TaskUnschedulableError(RayError):
    pass


class Stored:
    """A reference to bytes in the object store."""

    def __init__(self, value: bytes) -> None:
        self.value = value


class FakeRay:
    """The part of the library that is used, in this process.

    Attributes:
        fail: Called with a task's number before it runs; what it raises is how the task ends.
        puts: How many objects were put.
        options: The options of every task.
    """

    exceptions = SimpleNamespace(
        RayError=RayError,
        RayTaskError=RayTaskError,
        TaskCancelledError=TaskCancelledError,
        RuntimeEnvSetupError=RuntimeEnvSetupError,
        TaskUnschedulableError=TaskUnschedulableError,
    )

    def __init__(self, cpus: float = 2.0) -> None:
        self.cpus, self.puts, self.tasks = cpus, 0, 0
        self.options: list[dict[str, Any]] = []
        self.fail: Callable[[int], None] = lambda number: None
        self._ended: dict[int, Any] = {}
        self._tasks: dict[int, Callable[[], Any]] = {}

    def remote(self, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        self.options.append(options)

        def decorate(function: Callable[..., Any]) -> Any:
            def start(*args: Any) -> int:
                self.tasks += 1
                sent = pickle.dumps(args)  # what is not plain breaks here
                self._tasks[self.tasks] = lambda: function(*pickle.loads(sent))
                return self.tasks

            return SimpleNamespace(remote=start)

        return decorate

    def wait(self, tasks: list[int], *, num_returns: int = 1, timeout: float) -> tuple[list[int], list[int]]:
        if not any(task in self._ended for task in tasks):
            task = tasks[0]
            try:
                self.fail(task)
                with own_environment():
                    self._ended[task] = self._tasks[task]()
            except RayError as error:
                self._ended[task] = error
        return [one for one in tasks if one in self._ended][:num_returns], []

    def get(self, reference: int | Stored) -> Any:
        found = reference.value if isinstance(reference, Stored) else self._ended[reference]
        if isinstance(found, RayError):
            raise found
        return found

    def put(self, data: bytes) -> Stored:
        self.puts += 1
        return Stored(data)

    def cancel(self, task: int, *, force: bool) -> None:
        self._ended[task] = TaskCancelledError()

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.cpus}


@contextmanager
def own_environment() -> Iterator[None]:
    """A context after which the environment is as before: a task changes that of its process."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """A cluster of two cores that answers to every address."""
    found = FakeRay()
    monkeypatch.setattr(cluster, "connect", lambda *args, **options: cluster.Connection(found, lambda: None))
    monkeypatch.setitem(sys.modules, "ray", found)
    return found
