"""The live page of a real daemon, in a real browser."""

import base64
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs the serve extra")
pytest.importorskip("playwright", reason="needs the dev extra")
from playwright.sync_api import sync_playwright

from edgecnn_runtime.daemon.supervisor import Daemon

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
GREEN = (0x80, 0xDE, 0x4A)
"""Of the first class's boxes, BGR."""
SHOT = "() => document.querySelector('article[aria-label=gate] canvas').toDataURL('image/png')"


@pytest.fixture
def page(serve: Callable[[], Daemon], site: Path) -> Iterator[Any]:
    """The page of the daemon's cameras, logged in as an operator."""
    daemon = serve()
    token = (site.parent / "state" / "operator.token").read_text().strip()
    with sync_playwright() as start:
        browser = start.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{daemon.address}login#token={token}")
        page.wait_for_selector("article[aria-label=gate] canvas[data-index]")
        yield page
        browser.close()


def extent(mask: np.ndarray) -> np.ndarray:
    """The first and the last column in which a mask is set."""
    return np.flatnonzero(mask.any(axis=0))[[0, -1]]


def test_a_box_lies_on_the_square_that_moves(page: Any) -> None:
    """The square moves by 8 pixels a frame; the model may find it in two parts."""
    seen = 0
    for _ in range(400):
        data = base64.b64decode(page.evaluate(SHOT).partition(",")[2])
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
        square = (pixels[..., 2] > 150) & (pixels[..., 1] < 70) & (pixels[..., 0] < 70)
        rows = np.flatnonzero(square.any(axis=1))[3:]  # below the tag, which is green as well
        box = (abs(pixels[rows] - GREEN) < 25).all(axis=2)
        if square.sum() > 200 and box.sum() > 60:
            seen += 1
            away = abs(extent(square) - extent(box)) * 640 / pixels.shape[1]
            assert away.max() < 8
        if seen == 10:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"the square was seen {seen} times")


def test_events_and_zones_are_those_of_the_daemon(page: Any, site: Path) -> None:
    page.locator(".feed .entry", has_text="gate · entered").first.wait_for()
    thumbnail = page.locator(".feed .entry img").first
    assert thumbnail.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    page.get_by_role("link", name="gate", exact=True).click()
    page.get_by_role("button", name="Zones and lines").click()
    page.get_by_role("button", name="+ Zone").click()
    page.keyboard.press("Enter")
    page.get_by_label("Name of the zone").fill("door")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("region", name="Figures").wait_for()
    text = site.read_text()
    assert "door: [[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]]" in text
    assert "# two clips as cameras" in text
    page.locator(".feed .entry", has_text="door").first.wait_for()
