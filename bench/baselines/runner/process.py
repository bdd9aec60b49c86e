"""A worker in an environment of its own, and the protocol spoken with it; see serve.py."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

BASELINES = Path(__file__).parents[1]
LINES_SHOWN = 20
"""How many of the last lines that a dead worker printed are shown."""


class WorkerDiedError(RuntimeError):
    """A worker ended instead of answering; the message ends with what it printed."""


class Worker:
    """A worker's file in a process of its own, until ``close``.

    ``start`` chooses what the worker runs; ``look`` and ``run`` take its next results. Each raises
    WorkerDiedError where the worker ends instead of answering.
    """

    def __init__(self, file: Path, python: Path | str = sys.executable) -> None:
        """file: the worker's, with ``results`` and ``plain``. python: of its environment."""
        self._name = (
            str(file.relative_to(BASELINES)) if file.is_relative_to(BASELINES) else str(file)
        )
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-I", BASELINES / "serve.py", file],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._output, text=True,
            encoding="utf-8", start_new_session=True,
        )  # fmt: skip

    def call(self, function: str, /, **options: Any) -> Any:
        """What the worker's function returns for JSON values."""
        return self._ask({"do": "call", "name": function, "with": options})

    def start(self, **options: Any) -> None:
        """Make ``results(**options)`` what runs."""
        self._ask({"do": "start", "with": options})

    def look(self, count: int) -> list[Any]:
        """The next results as JSON values."""
        results: list[Any] = self._ask({"do": "look", "count": count})
        return results

    def run(self, count: int) -> list[float]:
        """Milliseconds that each of the next results took."""
        times: list[float] = self._ask({"do": "run", "count": count})
        return times

    def close(self) -> None:
        """End the process and whatever it has started: some send telemetry. Idempotent."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._output.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise WorkerDiedError(self._last_words(request["do"]))
        return json.loads(answer)["value"]

    def _last_words(self, request: str) -> str:
        code = self._process.wait()
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").splitlines()[-LINES_SHOWN:]
        printed = "\n".join(f"    {line}" for line in lines) or "    nothing"
        died = f"{self._name} died with exit code {code} when asked to {request}"
        return f"{died}; it printed\n{printed}"
