"""A picture of a page, by the Chromium that is installed, over its debugging pipe."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1280, 860
PATIENCE = 30.0
"""Seconds after which a browser that does not answer is killed."""
TO_PIPE = """
import os, sys
for source, target in ((int(sys.argv[1]), 3), (int(sys.argv[2]), 4)):
    os.dup2(source, target)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Becomes the browser, which takes commands from descriptor 3 and answers on 4."""


def take_screenshot(address: str, token: str, picture: Path, seconds: float) -> bool:
    """Open a page of the daemon and take a picture of it.

    Args:
        address: Of the page.
        token: Sent with every request.
        picture: PNG to be written.
        seconds: How long the page is shown before.

    Returns:
        Whether the picture was written: False where there is no Chromium, or it does not answer.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return False
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        orders, answers = os.pipe(), os.pipe()
        flags = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        if os.geteuid() == 0:  # as in a container, where Chromium refuses its sandbox
            flags.append("--no-sandbox")
        words = [sys.executable, "-c", TO_PIPE, str(orders[0]), str(answers[1]), browser, *flags]
        process = subprocess.Popen(
            words, pass_fds=(orders[0], answers[1]), stderr=subprocess.DEVNULL
        )
        os.close(orders[0])
        os.close(answers[1])
        deadline = threading.Timer(seconds + PATIENCE, process.kill)
        deadline.start()
        with open(orders[1], "wb", 0) as to, open(answers[0], "rb") as back:  # noqa: PTH123  (pipes)
            try:
                pixels = _capture(_Session(to, back), address, token, seconds)
            except (OSError, EOFError, KeyError):
                return False
            finally:
                deadline.cancel()
                process.kill()
                process.wait()
    picture.write_bytes(pixels)
    return True


class _Session:
    """Commands of the DevTools protocol, and their answers."""

    def __init__(self, to: BinaryIO, back: BinaryIO) -> None:
        self._to, self._back = to, back
        self._numbers = itertools.count(1)
        self.target: dict[str, str] = {}

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters, **self.target}
        self._to.write(json.dumps(order).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            pass
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> dict[str, Any]:
        raw = bytearray()
        while (byte := self._back.read(1)) != b"\0":
            if not byte:
                raise EOFError
            raw += byte
        message: dict[str, Any] = json.loads(raw)
        return message


def _capture(ask: _Session, address: str, token: str, seconds: float) -> bytes:
    page = ask("Target.createTarget", url="about:blank")["targetId"]
    session = ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
    ask.target = {"sessionId": session}
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    ask("Emulation.setDeviceMetricsOverride", **size)
    ask("Network.enable")
    ask("Network.setExtraHTTPHeaders", headers={"Authorization": f"Bearer {token}"})
    ask("Page.navigate", url=address)
    time.sleep(seconds)
    return base64.b64decode(ask("Page.captureScreenshot")["data"])
