"""The studio: time to first paint, cost of a refresh, and memory over time.

    python benchmarks/studio.py                 # writes 27 trials x 10 epochs to a scratch folder
    python benchmarks/studio.py --refreshes 3600    # an hour of watching, one refresh per second

Measured: the time until the server responds; the first paint of a page in Chromium, warm and cold; the work of one
redraw of the Compare page with the whole sweep on disk and running, and of the Train page (the Python side: reading,
ranking, specifications, driven by Streamlit's own test runner); resident memory before and after many redraws.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from housetrain.system import store
from housetrain.system.lock import Lock

# Not beside this folder: here `studio` is this script, there it is the tests' package.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "tests")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refreshes", type=int, default=400)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # Streamlit's, about running without a server
    with tempfile.TemporaryDirectory(prefix="housetrain-studio-") as place:
        work = Path(place)
        os.chdir(work)
        from studio.sweeps import make_sweep

        sweep = make_sweep(work)
        shutil.copytree(sweep / "trials" / "3-conv-64-nodes-0-dense", work / "runs" / "one")
        redraws(work, sweep, options.refreshes)
        first_paint(work)


def redraws(work: Path, sweep: Path, count: int) -> None:
    """Draw pages again and again while a process holds the sweep and the run, as a browser that watches does."""
    from streamlit.testing.v1 import AppTest

    from housetrain.studio.settings import VARIABLE, Settings

    os.environ[VARIABLE] = Settings(work, work).to_environment()[VARIABLE]
    run = work / "runs" / "one"
    (run / "result.json").unlink()
    with Lock(sweep), Lock(run):
        store.write_json_atomic(run / "progress.json", {"phase": "train", "epoch": 9, "step": 5, "steps": 175})
        for name, state in (("compare", {"compare-view": "watch"}), ("train", {"view": "watch"})):
            script = f"from housetrain.studio.views import {name}\n{name}.show()"
            test = AppTest.from_string(script, default_timeout=60)
            for key, value in state.items():
                test.session_state[key] = value
            test.run()
            assert not test.exception, test.exception
            whole = timed(test, 20)
            print(f"{name}: a whole redraw, driven by Streamlit's test runner, {whole:.0f} ms")
        work_of_a_refresh(sweep, run)
        memory(sweep, run, count)


def timed(test: Any, count: int) -> float:
    """Return the median time of a redraw, in ms."""
    found = []
    for _ in range(count):
        start = time.perf_counter()
        test.run()
        found.append((time.perf_counter() - start) * 1000)
    return statistics.median(found)


def refresh(sweep: Path, run: Path) -> None:
    """The work of one refresh of both pages: everything is read, ranked and described again."""
    from housetrain.report.plots import sweep_plots
    from housetrain.report.plots.curves import curve_table, draw_curves
    from housetrain.studio.views.compare import _row
    from housetrain.sweeps import status
    from housetrain.training.overfitting import overfitting
    from housetrain.training.run import Run

    snapshot = status.look(sweep)
    board = snapshot.board
    [_row(row, live=False) for row in board.rows]
    found = sweep_plots.factors(board.ranked)
    sweep_plots.draw_parallel(board.ranked, found)
    [sweep_plots.draw_factor(factor, low=0.0, high=1.0) for factor in found]
    best = board.ranked[:3]
    sweep_plots.draw_best_curves(sweep_plots.best_curves(best, {row.name: board.run_of(row).history for row in best}))
    history = Run(run).history
    table = curve_table(history, overfitting=overfitting(history))
    draw_curves(table, "loss", epochs=10), draw_curves(table, "accuracy", epochs=10)


def work_of_a_refresh(sweep: Path, run: Path) -> None:
    found = []
    for _ in range(40):
        start = time.perf_counter()
        refresh(sweep, run)
        found.append((time.perf_counter() - start) * 1000)
    print(f"a refresh of both pages, 27 trials x 10 epochs: median {statistics.median(found):.0f} ms, "
          f"95th percentile {sorted(found)[37]:.0f} ms")  # fmt: skip


def memory(sweep: Path, run: Path, count: int) -> None:
    process = psutil.Process()
    for _ in range(50):
        refresh(sweep, run)
    before = process.memory_info().rss
    for _ in range(count):
        refresh(sweep, run)
    after = process.memory_info().rss
    print(
        f"memory: {before / 1e6:.1f} MB, after {count} refreshes {after / 1e6:.1f} MB ({(after - before) / 1e6:+.1f})"
    )


def first_paint(work: Path) -> None:
    """Time a cold server and then pages in Chromium, from the address to the first words of the page."""
    from playwright.sync_api import sync_playwright
    from studio.browser import _FLAGS, Server, chromium

    began = time.perf_counter()
    server = Server(work)
    print(f"server answers after {time.perf_counter() - began:.2f} s")
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium(), args=_FLAGS.split())
            for words in ("first visitor", "second", "third"):
                page = browser.new_context().new_page()
                began = time.perf_counter()
                page.goto(server.at("compare"), wait_until="commit")
                page.get_by_text("Train many models side by side").wait_for()
                painted = time.perf_counter() - began
                page.get_by_text("TensorBoard").first.wait_for()
                whole = time.perf_counter() - began
                drawn = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
                print(f"{words}: first paint {drawn:.2f} s, the page's words {painted:.2f} s, everything {whole:.2f} s")
                if words == "third":
                    watching(page, server)
                page.context.close()
            browser.close()
    finally:
        server.kill()


def watching(page: Any, server: Any) -> None:
    """Say how much memory the server takes while a page watches for a minute."""
    process = psutil.Process(server.process.pid)
    page.wait_for_timeout(10_000)
    before = process.memory_info().rss
    page.wait_for_timeout(40_000)
    print(f"server: {before / 1e6:.0f} MB, 40 s of watching later {process.memory_info().rss / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
