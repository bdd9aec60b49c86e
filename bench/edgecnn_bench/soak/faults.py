"""What goes wrong in a soak, and when."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

FaultKind: TypeAlias = Literal[
    "stall", "hang-up", "offline", "garbage", "server", "slow sink", "sink down", "full disk",
    "clock",
]  # fmt: skip
"""A camera sends nothing, hangs up, does not answer, or sends wrong bytes; the server of all
cameras is killed; who is told of events is slow or refuses; the state folder is full; the wall
clock jumps."""

KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
OF_A_CAMERA: frozenset[FaultKind] = frozenset({"stall", "hang-up", "offline", "garbage"})
SILENT: frozenset[FaultKind] = frozenset({"stall", "garbage"})
"""Those in which nobody hangs up: a connection in disorder ends by its camera's time-outs."""
OF_CAMERAS = OF_A_CAMERA | {"server"}
"""Those after which a camera has to come back."""
SECONDS = {"hang-up": 0.0, "clock": 3.0, "full disk": 5.0, "slow sink": 8.0, "sink down": 8.0}
"""How long a fault lasts; those that are missing last between 1 and ``LONGEST``."""
LONGEST = 8.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: What goes wrong.
        cameras: With which cameras; empty for what is not a camera's.
        seconds: For how long.
    """

    kind: FaultKind
    cameras: Sequence[str]
    seconds: float


def plan(cameras: Sequence[str], kinds: Sequence[FaultKind], seed: int) -> Iterator[Fault]:
    """Faults without end: every kind once in each round, in random order.

    Args:
        cameras: Their names.
        kinds: What may go wrong.
        seed: The same one gives the same faults.

    Yields:
        The next fault.
    """
    chance = random.Random(seed)  # noqa: S311  (a plan, no secret)
    while True:
        for kind in chance.sample(list(kinds), len(kinds)):
            if kind in OF_A_CAMERA:
                targets = chance.sample(list(cameras), chance.randint(1, len(cameras)))
            else:
                targets = list(cameras) if kind == "server" else []
            yield Fault(kind, targets, SECONDS.get(kind, chance.uniform(1.0, LONGEST)))
