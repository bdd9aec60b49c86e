"""The picture of a page: what the page shows, with the token sent; none without a browser."""

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.demo import screenshot

PAGE = b"<body style='margin:0;background:rgb(10,200,30)'>"


@pytest.fixture
def page() -> Iterator[tuple[str, list[str]]]:
    """A green page, and the tokens that were sent for it."""
    tokens: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers.get("Authorization", ""))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", tokens
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_is_pictured_with_the_token_sent(
    page: tuple[str, list[str]], tmp_path: Path
) -> None:
    if not any(map(shutil.which, screenshot.BROWSERS)):
        pytest.skip("needs chromium")
    address, tokens = page
    assert screenshot.take_screenshot(address, "secret", tmp_path / "page.png", 2.0)
    picture = cv2.imread(str(tmp_path / "page.png"))
    assert picture is not None
    assert picture.shape == (screenshot.HEIGHT, screenshot.WIDTH, 3)
    assert np.abs(picture.astype(int) - (30, 200, 10)).max() <= 3
    assert tokens[0] == "Bearer secret"


def test_there_is_none_without_a_browser_or_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "page.png"
    monkeypatch.setattr(screenshot, "BROWSERS", ("no-such-browser",))
    assert not screenshot.take_screenshot("http://127.0.0.1:1/", "", picture, 0.0)
    monkeypatch.setattr(screenshot, "BROWSERS", ("true",))  # ends at once
    assert not screenshot.take_screenshot("http://127.0.0.1:1/", "", picture, 0.0)
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setattr(screenshot, "BROWSERS", (str(silent),))
    monkeypatch.setattr(screenshot, "PATIENCE", 0.5)
    assert not screenshot.take_screenshot("http://127.0.0.1:1/", "", picture, 0.0)
    assert not picture.exists()
