"""The words in which a model that edgecnn has no head for is refused."""

import json
from collections.abc import Mapping
from typing import Any

from edgecnn_export.heads.base import Outputs
from edgecnn_runtime.errors import UnsupportedModelError, UsageError

OWN_DECODING = "export the network with its own decoding in the graph"


def no_head(outputs: Outputs, what: str, advice: str = "") -> UnsupportedModelError:
    """The refusal of a head that edgecnn does not have.

    Args:
        outputs: The model's.
        what: What they are, as a sentence without its full stop.
        advice: What to do instead; "" where nothing helps.
    """
    hint = f": {advice}" if advice else ""
    return UnsupportedModelError(f"{what}; edgecnn has no head for it yet{hint}; {outputs}")


def other_task(
    outputs: Outputs, what: str, task: str, points: tuple[int, int] | None = None
) -> UsageError:
    """The refusal of outputs that belong to another task than the one that was asked for.

    Args:
        outputs: The model's.
        what: What they are.
        task: Theirs.
        points: Of a pose model, key points per box and numbers per key point (2 or 3).
    """
    setting = as_json(dict(zip(("points", "point_dims"), points, strict=True))) if points else ""
    decode = f" --decode {setting}" if setting else ""
    return UsageError(f"{what}: add --task {task}{decode}; {outputs}")


def as_json(fields: Mapping[str, Any]) -> str:
    """Decode settings as they are typed in a shell."""
    return f"'{json.dumps(fields)}'"
