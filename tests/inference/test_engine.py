"""The engine: outputs to probabilities, streaming in order, padding, and release at exit."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from housetrain.errors import ModelError
from housetrain.inference.engine import (
    LoadedModel,
    Port,
    run_in_batches,
    run_padded,
    stream,
)


def engine(run: Any = None, **more: Any) -> LoadedModel:
    """An engine whose output is the sum of each image."""
    run = run or (lambda images: images.reshape(len(images), -1).sum(axis=1, keepdims=True))
    return LoadedModel(run, "sum", precision="fp32", model=object(), **more)


def test_results_come_in_order_while_later_items_run() -> None:
    def slow(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number

    assert list(stream(slow, range(30), parallel=3)) == list(range(30))


def test_a_stream_reads_a_bounded_number_of_items_and_leaves_no_thread() -> None:
    taken = itertools.count()
    results = stream(lambda number: number, (next(taken) for _ in itertools.count()), parallel=2)
    assert list(itertools.islice(results, 10)) == list(range(10))
    results.close()
    assert next(taken) <= 15
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("housetrain-model")]


def test_a_failure_reaches_the_reader() -> None:
    with pytest.raises(ZeroDivisionError):
        list(stream(lambda number: 1 // number, [2, 1, 0, 1]))


def test_padding_changes_the_size_and_not_the_outputs() -> None:
    sizes: list[int] = []

    def run(images: Any) -> Any:
        sizes.append(len(images))
        return images.reshape(len(images), -1).sum(axis=1, keepdims=True)

    images = np.arange(37 * 4, dtype=np.uint8).reshape(37, 2, 2, 1)
    expected = images.reshape(37, -1).sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(run_in_batches(engine(run), images, batch=32), expected)
    assert sizes == [32, 8]
    np.testing.assert_array_equal(run_in_batches(engine(run), images, batch=32, one_size=True), expected)
    assert sizes[2:] == [32, 32]
    np.testing.assert_array_equal(run_padded(engine(run), images[:3], 5), expected[:3])


def test_no_more_calls_run_at_a_time_than_an_engine_allows() -> None:
    running, most = [], []

    def run(images: Any) -> Any:
        running.append(1)
        most.append(len(running))
        time.sleep(0.005)
        running.pop()
        return images.reshape(len(images), -1)

    loaded = engine(run, parallel=2)
    list(stream(loaded.run, [np.zeros((1, 2, 2, 1), np.uint8)] * 12, parallel=6))
    assert max(most) == 2


def test_a_model_must_fit_its_input_and_its_classes() -> None:
    good = engine(inputs=[Port((None, 4, 4, 1), np.uint8)], outputs=[Port((None, 1), np.float32)])
    assert good.must_fit(2, (4, 4, 1)) is good
    with pytest.raises(ModelError, match="does not match its input spec"):
        good.must_fit(2, (4, 4, 3))
    with pytest.raises(ModelError, match="class names"):
        good.must_fit(3, (4, 4, 1))
    with pytest.raises(ModelError, match="class names"):
        engine(inputs=good.inputs, outputs=[Port((None, 4, 4), np.float32)]).must_fit(4, (4, 4, 1))


def test_a_closed_engine_holds_nothing_and_says_so() -> None:
    loaded = engine()
    loaded.close()
    loaded.close()
    assert loaded.model is None
    with pytest.raises(RuntimeError, match="closed"):
        loaded.run(np.zeros((1, 2, 2, 1), np.uint8))


def test_models_are_released_before_the_interpreter_exits(bundle: Path) -> None:
    """Before the modules are torn down, and before the exit handlers of the library that runs the model."""
    code = (
        "import atexit, weakref, housetrain\n"
        f"predictor = housetrain.Predictor.load({str(bundle)!r})\n"
        "model = weakref.ref(predictor.engine)\n"
        "import housetrain.inference.engine as engine\n"
        "before = len(engine._open)\n"
        "real = engine._close_all\n"
        "def last(): real(); print(before, predictor.engine.model, len(engine._open))\n"
        "atexit.unregister(real); atexit.register(last)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "None", "0"]
