"""The words in which a model that edgecnn has no head for is refused."""

import json
from collections.abc import Mapping
from typing import Any

from edgecnn_export.heads import Outputs
from edgecnn_runtime.errors import UnsupportedModelError

DETECTION_VARIANT = "export the detection variant of the network instead"
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


def key_points(outputs: Outputs, what: str, shape: tuple[int, int]) -> UnsupportedModelError:
    """The refusal of a pose model, with the setting that takes its key points as landmarks.

    Args:
        outputs: The model's.
        what: What they are.
        shape: Key points per box, and numbers per key point (2 or 3).
    """
    setting = as_json({"points": shape[0], "point_dims": shape[1]})
    return UnsupportedModelError(
        f"{what}; edgecnn has no pose task yet. It takes key points as a box's points, without "
        f"their visibility: add --task detect --decode {setting}; {outputs}"
    )


def as_json(fields: Mapping[str, Any]) -> str:
    """Decode settings as they are typed in a shell."""
    return f"'{json.dumps(fields)}'"
