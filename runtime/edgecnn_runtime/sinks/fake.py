"""A sink without a file: it records what it is given.

It ships with the package so that pipelines, schedulers and commands can be tested without a disk.
"""

from edgecnn_runtime.sinks.base import SinkKind
from edgecnn_runtime.types import FrameResult


class FakeSink:
    """Records results in memory; may be shared by threads.

    Attributes:
        results: Everything that was written, in order.
        closed: Whether ``close`` was called.
    """

    def __init__(self) -> None:
        self.results: list[FrameResult] = []
        self.closed = False

    def write(self, result: FrameResult, /) -> None:
        """Record a result."""
        self.results.append(result)

    def close(self) -> None:
        """Note that nothing more will come."""
        self.closed = True


KIND = SinkKind(
    flag="fake",
    help="nothing: results are recorded in memory",
    open=lambda _path, _stream: FakeSink(),
    shared=True,
    summary_key="fake",
)
