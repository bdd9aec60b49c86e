"""A feature vector of a whole picture."""

from collections.abc import Mapping

from edgecnn_export.heads.base import Fields, Head, Outputs
from edgecnn_runtime.bundle.manifest import Embed


def embed(outputs: Outputs) -> Fields:
    """features[N,D]."""
    return {"output": outputs.sole_output(2, "an embedding")}


HEADS: Mapping[str, Head] = {"embed": Head(Embed, embed)}
