"""The seam of heads: what is known of a model's outputs, and what a kind of head makes of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from edgecnn_export.exporter_metadata import NO_METADATA, ExporterMetadata
from edgecnn_export.head_evidence import columns_of, sum_to_one
from edgecnn_runtime.bundle.manifest import Values
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Floats

Fields: TypeAlias = dict[str, Any]
"""Decode settings by their names in the manifest."""

STRIDES = (8, 16, 32)
STRIDE_SETS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
MOST_QUERIES = 1000
"""Rows of a table that holds the best boxes only, at most."""
VALUES_BY_ACTIVATION: Mapping[str, Values] = {
    "Softmax": "probabilities",
    "Sigmoid": "probabilities",
    "LogSoftmax": "log_probabilities",
}


@dataclass(frozen=True)
class Outputs:
    """What is known of a model's outputs before anything is decoded.

    Attributes:
        shapes: By name, with a batch of one.
        tails: By name, the op type of the activation that ends the output; "" without one.
        width: Of the network's input.
        height: Of the network's input.
        labels: The class names, or characters, of the user or the file; empty without any.
        options: Decode fields the user set.
        samples: The reference's outputs on the verification pictures, float32[N,…] by name, the
            batch first; empty where they are not known.
        metadata: What the exporter wrote into the file.
        batchless: Outputs whose first axis is not the batch; ``shapes`` has all of their axes.
    """

    shapes: Mapping[str, tuple[int, ...]]
    tails: Mapping[str, str]
    width: int
    height: int
    labels: tuple[str, ...]
    options: Mapping[str, Any]
    samples: Mapping[str, Floats] = field(default_factory=dict)
    metadata: ExporterMetadata = NO_METADATA
    batchless: frozenset[str] = frozenset()

    def rows(self, name: str, axis: int = -1) -> Floats:
        """An output on the verification pictures as float32[R,K]; without rows where not known.

        Args:
            name: Of the output.
            axis: Which of its axes the K columns are.
        """
        values = self.samples.get(name)
        if values is None:
            return np.empty((0, self.shapes[name][axis]), np.float32)
        table = np.moveaxis(values, axis, -1)
        rows: Floats = table.reshape(-1, table.shape[-1])
        return rows

    def values(self, name: str, axis: int = -1) -> Values:
        """What scores mean: by the activation that ends the output, else by their sums.

        Args:
            name: Of the output.
            axis: Which of its axes the classes are.
        """
        if values := VALUES_BY_ACTIVATION.get(self.tails.get(name, "")):
            return values
        rows = self.rows(name, axis)
        columns = columns_of(rows)
        if not columns.outside.any() and sum_to_one(rows):
            return "probabilities"
        if len(rows) and columns.high.max() <= 0 and sum_to_one(np.exp(rows)):
            return "log_probabilities"
        return "logits"

    def sole_output(self, rank: int, what: str) -> str:
        """The name of the one output with ``rank`` axes, or of the one the user chose.

        Args:
            rank: How many axes it has, the batch included.
            what: What needs it, for the message.

        Raises:
            UsageError: There is none, or more than one.
        """
        choice = self.options.get("output")
        if choice is not None:
            if choice not in self.shapes:
                raise UsageError(f"--decode: the model has no output {choice!r}; {self}")
            return str(choice)
        names = [name for name, shape in self.shapes.items() if len(shape) == rank]
        if len(names) != 1:
            hint = 'name one with --decode \'{"output": "…"}\'' if names else "try another --head"
            raise UsageError(f"{what} needs one output with {rank} axes; {self}: {hint}")
        return names[0]

    def cells(self, strides: Iterable[int]) -> int:
        """How many grid cells all strides have together."""
        return sum(-(-self.width // s) * -(-self.height // s) for s in strides)

    def is_grid(self, rows: int) -> bool:
        """Whether a table with so many rows has one for each cell, or for each of three anchors."""
        return any(rows in {cells, 3 * cells} for cells in map(self.cells, STRIDE_SETS))

    def __str__(self) -> str:
        return "its outputs are " + ", ".join(f"{n}{list(s)}" for n, s in self.shapes.items())


@dataclass(frozen=True)
class Head:
    """One kind of head, by its name on the command line.

    Attributes:
        spec: Its Struct in the manifest.
        read: Reads the settings that decode it off the outputs; raises a UsageError that says what
            is missing.
        fits: Whether outputs look like those of this head. Asked in the order of HEADS, of the
            heads of a task where that is known; the first one that fits is taken.
        by_values: Whether ``fits`` looks at values, so that no other head can read what fits.
    """

    spec: type[Any]
    read: Callable[[Outputs], Fields]
    fits: Callable[[Outputs], bool] = lambda _: False
    by_values: bool = False


def numbered(count: int) -> tuple[str, ...]:
    """0, 1, 2, …: the names of classes that have none."""
    return tuple(str(index) for index in range(count))
