"""Any function as a workload of ``edgecnn_bench.latency.measure``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass
class CallWorkload:
    """One call of ``run`` handles one frame."""

    key: str
    run: Callable[[], object]
    frames: int = 1

    def begin(self) -> None:
        """There is nothing to prepare."""

    def stages(self) -> Mapping[str, Sequence[float]]:
        """A call has no stages."""
        return {}
