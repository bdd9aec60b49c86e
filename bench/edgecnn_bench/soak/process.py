"""What a process takes, from /proc: memory, threads, open files, and processor time by thread."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """A process at one moment.

    Attributes:
        at: Seconds on the monotonic clock.
        resident: Bytes of its memory that are in RAM.
        threads: How many it has.
        files: How many files and sockets it holds open.
        cpu: Seconds of processor time of its threads that still run, by thread id; user and system.
    """

    at: float
    resident: int
    threads: int
    files: int
    cpu: Mapping[int, float]


def sample_process(pid: int) -> ProcessSample:
    """Look at a process.

    Raises:
        ProcessLookupError: There is none, or it ends just now.
    """
    folder = Path("/proc") / str(pid)
    try:
        pages = [int(word) for word in (folder / "statm").read_text().split()]
        cpu = thread_seconds(pid)
        files = sum(1 for _ in (folder / "fd").iterdir())
    except FileNotFoundError:
        raise ProcessLookupError(f"no process {pid}") from None
    return ProcessSample(time.monotonic(), pages[1] * PAGE, len(cpu), files, cpu)


def thread_seconds(pid: int) -> dict[int, float]:
    """Processor time of each thread of a process, in seconds, by its id."""
    seconds = {}
    for task in (Path("/proc") / str(pid) / "task").iterdir():
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        seconds[int(task.name)] = (int(fields[11]) + int(fields[12])) / TICK
    return seconds
