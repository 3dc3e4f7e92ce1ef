"""Training on a GPU: the `best` preset and the 3x64 CNN in bfloat16, with all images on the device as uint8.

    KERAS_BACKEND=jax python benchmarks/gpu.py [--batch 1024] [--steps 100] [--trials 4]
    KERAS_BACKEND=torch python benchmarks/gpu.py

Prints images per second and the fraction of the device's limit: the arithmetic of a step (a backward pass costs twice
a forward pass) against the rate of a large bfloat16 matrix multiplication on the same device in the same run. Then
the wall time of a small sweep, one trial at a time and ``--trials`` sharing the device. The images are random: only
speed is measured. Without a GPU, it runs on the processor with tiny settings and says so; those numbers mean little.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several trials share the memory

import numpy as np

from housetrain import InputSpec, Recipe, prepare, sample
from housetrain.system.backend import load_keras

load_keras("a benchmark")
import keras  # noqa: E402 - after its notes are dealt with

from housetrain.models.build import build  # noqa: E402
from housetrain.models.cost import cost  # noqa: E402
from housetrain.training.optimizers import optimizer_of  # noqa: E402

BACKEND = keras.backend.backend()
NETS = (
    ("best", Recipe.of("best"), InputSpec(80, 80, "rgb")),
    ("3x64", Recipe.of("cnn", conv=3, nodes=64), InputSpec(50, 50, "grayscale")),
)
Step = Callable[[int], Any]


def has_gpu() -> bool:
    """Return whether the backend sees a GPU."""
    if BACKEND == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    if BACKEND == "torch":
        import torch

        return bool(torch.cuda.is_available())
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def wait(value: Any) -> None:
    """Wait until the device has computed ``value``."""
    float(keras.ops.convert_to_numpy(keras.ops.cast(value, "float32")))


# ------------------------------------------------------------------------------------------------- a step by backend
def steps_of(model: Any, optimizer: Any, images: np.ndarray, labels: np.ndarray, batch: int) -> Step:
    """Return a function that trains one batch, taken on the device, and returns its loss."""
    loss = keras.losses.BinaryCrossentropy()
    optimizer.build(model.trainable_variables)
    if BACKEND == "jax":
        return _jax(model, optimizer, loss, images, labels, batch)
    if BACKEND == "torch":
        return _torch(model, optimizer, loss, images, labels, batch)
    return _tensorflow(model, optimizer, loss, images, labels, batch)


def _jax(model: Any, optimizer: Any, loss: Any, images: np.ndarray, labels: np.ndarray, batch: int) -> Step:
    import jax

    x, y = jax.device_put(images), jax.device_put(labels)

    def objective(trainable: Any, other: Any, rows: Any) -> Any:
        output, other = model.stateless_call(trainable, other, x[rows], training=True)
        return loss(y[rows], output), other

    def step(state: Any, number: Any) -> Any:
        trainable, other, moments = state
        rows = jax.random.randint(jax.random.PRNGKey(number), (batch,), 0, len(x))
        (value, other), gradients = jax.value_and_grad(objective, has_aux=True)(trainable, other, rows)
        trainable, moments = optimizer.stateless_apply(moments, gradients, trainable)
        return (trainable, other, moments), value

    compiled = jax.jit(step, donate_argnums=0)
    kept = [
        [jax.numpy.copy(variable.value) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    ]
    state = tuple(kept)

    def run(number: int) -> Any:
        nonlocal state
        state, value = compiled(state, number)
        return value

    return run


def _torch(model: Any, optimizer: Any, loss: Any, images: np.ndarray, labels: np.ndarray, batch: int) -> Step:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, y = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)

    def run(number: int) -> Any:
        rows = torch.randint(len(x), (batch,), device=device)
        model.zero_grad()
        value = loss(y[rows], model(x[rows], training=True))
        value.backward()
        with torch.no_grad():
            optimizer.apply([variable.value.grad for variable in model.trainable_variables])
        return value.detach()

    return run


def _tensorflow(model: Any, optimizer: Any, loss: Any, images: np.ndarray, labels: np.ndarray, batch: int) -> Step:
    import tensorflow as tf

    x, y = tf.constant(images), tf.constant(labels)

    @tf.function
    def run(number: Any) -> Any:
        rows = tf.random.uniform((batch,), maxval=len(images), dtype=tf.int32)
        with tf.GradientTape() as tape:
            value = loss(tf.gather(y, rows), model(tf.gather(x, rows), training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    return lambda number: run(tf.constant(number))


# ------------------------------------------------------------------------------------------------- what is measured
def limit(side: int) -> float:
    """Return the floating-point operations a second of a bfloat16 multiplication of two ``side x side`` matrices."""
    times = 20 if side > 2048 else 5
    a = keras.ops.cast(keras.random.normal((side, side)), "bfloat16")
    if BACKEND == "jax":
        import jax

        multiply = jax.jit(keras.ops.matmul)
    else:
        multiply = keras.ops.matmul
    wait(multiply(a, a)[0, 0])
    quickest = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(times):
            found = multiply(a, a)
        wait(found[0, 0])
        quickest = min(quickest, time.perf_counter() - begin)
    return 2 * side**3 * times / quickest


def speed(name: str, recipe: Recipe, spec: InputSpec, *, batch: int, steps: int, peak: float) -> None:
    """Train some steps, and print how quick they are."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (max(2048, 2 * batch), *spec.shape), dtype=np.uint8)
    labels = random.integers(0, 2, (len(images), 1)).astype(np.float32)
    model = build(recipe, spec=spec, classes=("a", "b"), precision="bfloat16")
    flops = 3 * (cost(recipe, spec, 2).flops or 0)
    begin = time.perf_counter()
    step = steps_of(model, optimizer_of(recipe, steps_per_epoch=steps), images, labels, batch)
    wait(step(0))
    wait(step(1))
    started, begin = time.perf_counter() - begin, time.perf_counter()
    for number in range(steps):
        value = step(number + 2)
    wait(value)
    rate = batch * steps / (time.perf_counter() - begin)
    print(
        f"{name:5s} batch {batch}: {rate:,.0f} images/s, {rate * flops / 1e12:.3f} TFLOP/s, "
        f"{rate * flops / peak:.2f} of the limit; {started:.1f} s to start"
    )


def sweeps(trials: int, *, epochs: int) -> None:
    """Time the command on a small grid of digits, one trial at a time and several at once."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        prepared = prepare(sample("digits", work / "digits"), work / "prepared", image_size=24)
        settings = ["--nodes", "32,64", "--dense", "0", "--epochs", str(epochs), "--batch-size", "128", "--quiet"]
        for workers in (1, trials):
            command = [sys.executable, "-m", "housetrain", "sweep", str(prepared.folder), *settings]
            places = ["--output", str(work / f"sweep-{workers}"), "--workers", str(workers)]
            begin = time.perf_counter()
            subprocess.run([*command, *places], check=True, stdout=subprocess.DEVNULL)
            print(f"sweep of 6, {workers} at a time: {time.perf_counter() - begin:.1f} s")


def main() -> int:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, help="images a step; 1024 on a GPU")
    parser.add_argument("--steps", type=int, help="steps to time; 100 on a GPU")
    parser.add_argument("--trials", type=int, default=4, help="trials that share the device")
    parser.add_argument("--no-sweep", action="store_true", help="leave the sweeps out")
    options = parser.parse_args()
    gpu = has_gpu()
    if not gpu:
        print("No GPU: tiny settings on the processor. It shows that this runs, not how fast.")
    batch, steps = options.batch or (1024 if gpu else 16), options.steps or (100 if gpu else 3)
    peak = limit(8192 if gpu else 1024)
    print(f"{BACKEND} {keras.__version__}; a large bfloat16 multiplication reaches {peak / 1e12:.2f} TFLOP/s")
    for name, recipe, spec in NETS:
        speed(name, recipe, spec, batch=batch, steps=steps, peak=peak)
    if not options.no_sweep:
        sweeps(options.trials if gpu else 2, epochs=5 if gpu else 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
