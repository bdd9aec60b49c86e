"""What a soak found."""

from collections.abc import Sequence

import msgspec

from edgecnn_bench.soak.faults import FaultKind

SCHEMA_VERSION = 1


class FaultSummary(msgspec.Struct, frozen=True, kw_only=True):
    """All faults of one kind.

    Attributes:
        kind: What went wrong.
        count: How often.
        recovery: Seconds from the end of the fault until every camera was live again, the worst.
        why_not: Why it could not be made here; empty where it was.
    """

    kind: FaultKind
    count: int = 0
    recovery: float = 0.0
    why_not: str = ""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that has a limit.

    Attributes:
        what: What was measured.
        value: The figure.
        limit: What it may not exceed; None where the soak was too short to judge it.
        unit: Of both.
    """

    what: str
    value: float
    limit: float | None
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the limit holds."""
        return self.limit is None or self.value <= self.limit


class SoakReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``edgecnn soak`` prints.

    Attributes:
        schema: SCHEMA_VERSION.
        minutes: How long faults were made.
        seed: Of the plan.
        cameras: How many there were.
        events: How many the daemon committed.
        reconnects: How often its cameras were opened again.
        faults: By kind.
        checks: What was asserted.
    """

    schema: int = SCHEMA_VERSION
    minutes: float
    seed: int
    cameras: int
    events: int
    reconnects: int
    faults: Sequence[FaultSummary]
    checks: Sequence[Check]

    @property
    def passed(self) -> bool:
        """Whether every limit holds."""
        return all(check.passed for check in self.checks)
