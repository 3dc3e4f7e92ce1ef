"""Take the screenshots of the studio for the documentation: ``make screenshots``.

In: Chromium, and the handwritten digits of scikit-learn. Out: ``docs/images/studio/<page>-<theme>.png``, each page in
light and dark, and some at the width of a phone. The pages show real results: prepared, trained, tested, swept and
exported in a temporary folder.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images" / "studio"
FLAGS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
WIDTH, TALLEST, MOST_BYTES = 1180, 1500, 200_000
PAGES = {
    "data": ("/?folder=sample%2Fdigits", "Train / validation / test split"),
    "labels": ("/labels", "Similar images of other classes"),
    "train-new": ("/train?view=new", "Model size"),
    "train": ("/train?view=watch&run=digits", "Finished"),
    "compare": ("/compare", "Effect of each setting"),
    "test": ("/test?run=digits", "Metrics by class"),
    "predict": ("/predict?run=digits", "Download as CSV"),
    "export": ("/export?run=digits", "Usage"),
}
PHONE = ("data", "train", "predict")


def main() -> None:
    """Create the results, then take the screenshots."""
    with tempfile.TemporaryDirectory(prefix="housetrain-studio-") as place:
        work = Path(place)
        os.environ["HOUSETRAIN_CACHE"] = str(work / ".cache")
        make(work)
        IMAGES.mkdir(parents=True, exist_ok=True)
        port = free_port()
        server = subprocess.Popen(
            [sys.executable, "-m", "housetrain", "studio", "--no-browser", "--port", str(port)], cwd=work
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            take(f"http://127.0.0.1:{port}", work)
        finally:
            server.terminate()
            server.wait()


def make(work: Path) -> None:
    """Create a run and a small sweep of the digits."""

    def call(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "housetrain", *words], cwd=work, check=True)

    call("sample", "digits", "sample/digits", "--quiet")
    call("prepare", "sample/digits", "--image-size", "28", "--quiet")
    call("labels", "prepared/digits-28x28-grayscale", "--quiet")
    net = ("--model", "cnn", "--conv", "2", "--nodes", "32")
    call("train", "prepared/digits-28x28-grayscale", *net, "--epochs", "12", "--output", "runs/digits", "--quiet")
    call("evaluate", "runs/digits")
    call("export", "runs/digits")
    axes = ("--conv", "1,2", "--nodes", "8,32", "--dense", "0,1")
    call("sweep", "prepared/digits-28x28-grayscale", *axes, "--epochs", "4", "--quiet")


def take(url: str, work: Path) -> None:
    """Take a screenshot of every page."""
    from playwright.sync_api import sync_playwright

    photos = [next(path for path in sorted((work / "sample/digits" / name).rglob("*.png"))) for name in "38"]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=FLAGS.split())
        for theme in ("light", "dark"):
            for name, (path, awaited) in PAGES.items():
                shoot(browser, url + path, awaited, theme=theme, name=name, photos=photos, width=WIDTH)
        for name in PHONE:
            path, awaited = PAGES[name]
            shoot(browser, url + path, awaited, theme="light", name=name, photos=photos, width=390)
        browser.close()


def shoot(browser, url: str, awaited: str, *, theme: str, name: str, photos: list[Path], width: int) -> None:
    """Open a page, wait until it is drawn, and save a screenshot."""
    phone = width < 600
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    page.goto(url)
    if name == "predict":
        page.locator("input[type=file]").set_input_files(photos, timeout=60_000)
    page.get_by_text(awaited).first.wait_for(timeout=90_000)
    page.wait_for_timeout(3000)
    height = page.locator("[data-testid=stMainBlockContainer]").evaluate("box => box.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(TALLEST, int(height) + 40)})
    page.wait_for_timeout(1500)
    keep(page.screenshot(), IMAGES / f"{name}-{'phone' if phone else theme}.png")
    page.close()


def keep(data: bytes, path: Path) -> None:
    """Write an image with as many colors as the size limit allows."""
    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert("RGB")
    for colors in (256, 128, 64, 32):
        small = image.quantize(colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        small.save(buffer, "PNG", optimize=True)
        if buffer.tell() < MOST_BYTES:
            break
    path.write_bytes(buffer.getvalue())
    print(f"{path.name}: {image.width}x{image.height}, {buffer.tell() / 1000:.0f} kB")


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str) -> None:
    """Wait until a URL responds."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not respond")


if __name__ == "__main__":
    main()
