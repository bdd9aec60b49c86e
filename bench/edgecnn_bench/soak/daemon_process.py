"""``edgecnn serve`` in a process of its own: started, asked over HTTP as anybody would, stopped."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from edgecnn_runtime.errors import EdgecnnError

START_SECONDS = 120.0
STOP_SECONDS = 30.0
TERMINAL_SECONDS = 5.0
"""In which a daemon ends that got Ctrl-C from a terminal."""
ANSWER_SECONDS = 10.0
DISK = 64 << 20
"""Bytes of the file system that can be full."""
PAGE = 500


def find_mount() -> Sequence[str]:
    """The words before a command that may mount file systems of its own; empty where none may."""
    test = "mount -t tmpfs -o size=1m tmpfs /tmp"
    for words in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        if (
            shutil.which(words[0])
            and not subprocess.run(
                [*words, "sh", "-c", test], capture_output=True, check=False
            ).returncode
        ):
            return words
    return ()


class DaemonProcess:
    """A daemon: ``with DaemonProcess(site, state, port, log=…) as daemon: daemon.cameras()``.

    Attributes:
        pid: Of its process.
        state: Its state folder, also where that is mounted for it alone.
        address: Of its pages.
        token: Of an operator.
    """

    def __init__(
        self,
        site: Path,
        state: Path,
        port: int,
        *,
        log: Path,
        mount: Sequence[str] = (),
        clock: Path | None = None,
    ) -> None:
        """Start it, and wait until it answers.

        Args:
            site: Its site.yaml.
            state: The state folder that it names.
            port: The port that it names, on loopback.
            log: Where its output goes.
            mount: Of ``find_mount``: makes the state folder a small file system of its own.
            clock: Where its wall clock's offset is stored; None for the real clock.

        Raises:
            EdgecnnError: It does not start.
        """
        program = ["edgecnn"]
        self._clock = clock
        if clock is not None:
            program = ["edgecnn_bench.soak.jumping_clock", str(clock)]
            self.set_clock(0)
        serve = [sys.executable, "-m", *program, "serve", str(site)]
        if mount:
            script = 'mount -t tmpfs -o size="$1",mode=0700 tmpfs "$2" && shift 2 && exec "$@"'
            serve = [*mount, "sh", "-c", script, "sh", str(DISK), str(state), *serve]
        self._log = log
        with log.open("a") as output:
            self._process = subprocess.Popen(
                serve, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.pid = self._process.pid
        self.state = Path(f"/proc/{self.pid}/root{state}") if mount else state
        self.address = f"http://127.0.0.1:{port}"
        self.token = ""
        self._wait_until_it_answers()

    def __enter__(self) -> "DaemonProcess":
        return self

    def __exit__(self, *problem: object) -> None:
        self._process.kill()
        self._process.wait()

    def check(self) -> None:
        """Do nothing while it runs.

        Raises:
            EdgecnnError: It has ended by itself.
        """
        if self._process.poll() is not None:
            code = self._process.returncode
            raise EdgecnnError(f"the daemon ended with code {code}: {self._last_words()}")

    def cameras(self) -> Sequence[Mapping[str, Any]]:
        """The cameras, as the API gives them."""
        answer: Sequence[Mapping[str, Any]] = json.loads(self.get("/api/cameras"))
        return answer

    def events(self, **query: Any) -> Sequence[Mapping[str, Any]]:
        """A page of events, newest first; ``query`` as the API takes it, such as ``limit=6``."""
        answer: Mapping[str, Any] = json.loads(self.get(f"/api/events?{urlencode(query)}"))
        events: Sequence[Mapping[str, Any]] = answer["events"]
        return events

    def event_ids(self) -> Sequence[str]:
        """Of all events that are committed now, in the order of commits."""
        newest_first: list[str] = []
        before = ""
        while True:
            page = json.loads(self.get(f"/api/events?limit={PAGE}&before={before}"))
            newest_first += [event["id"] for event in page["events"]]
            before = page["next"]
            if not before:
                return newest_first[::-1]

    def get(self, path: str) -> bytes:
        """What it answers.

        Raises:
            EdgecnnError: It does not answer, or refuses.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = urllib.request.Request(self.address + path, headers=headers)  # noqa: S310  (ours)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                content: bytes = answer.read()
                return content
        except (OSError, urllib.error.URLError) as error:
            raise EdgecnnError(f"the daemon does not answer {path}: {error}") from None

    def set_clock(self, offset: int) -> None:
        """Let its wall clock be so many seconds ahead, from now on."""
        assert self._clock is not None
        replaced = self._clock.with_suffix(".new")
        replaced.write_text(str(offset))
        replaced.replace(self._clock)

    def wait(self) -> None:
        """Until it ends by itself, or by Ctrl-C, which a terminal sends to both processes.

        Raises:
            EdgecnnError: It does not end, or not well.
        """
        try:
            self._process.wait()
        except KeyboardInterrupt:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(TERMINAL_SECONDS)
            if self._process.poll() is None:  # only this process was interrupted
                self.stop()

    def stop(self) -> float:
        """End it as a service manager does; seconds that it took.

        Raises:
            EdgecnnError: It does not end, or not well.
        """
        start = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise EdgecnnError(f"the daemon did not end in {STOP_SECONDS:g} s") from None
        if code:
            self.check()
        return time.monotonic() - start

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self.check()
            try:
                self.get("/healthz")
                self.token = (self.state / "operator.token").read_text().strip()
                return
            except (EdgecnnError, OSError):
                time.sleep(0.05)
        raise EdgecnnError(f"the daemon did not answer in {START_SECONDS:g} s")

    def _last_words(self) -> str:
        return " / ".join(self._log.read_text(errors="replace").splitlines()[-3:])


def free_port() -> int:
    """A port on loopback that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
