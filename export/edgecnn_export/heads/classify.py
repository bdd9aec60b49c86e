"""Class scores of a whole picture."""

from collections.abc import Mapping

from edgecnn_export.head_evidence import unit_length
from edgecnn_export.heads.base import Fields, Head, Outputs
from edgecnn_runtime.bundle.manifest import Classify

SMALLEST_VECTOR, VECTOR_STEP = 64, 32
"""Embeddings have at least so many numbers, and a multiple of so many."""


def classify(outputs: Outputs) -> Fields:
    """scores[N,C]."""
    name = outputs.sole_output(2, "a classifier")
    many = outputs.shapes[name][1] > 1
    independent = many and outputs.tails.get(name) == "Sigmoid"
    return {"output": name, "values": outputs.values(name), "multi_label": independent}


def looks_like_features(outputs: Outputs) -> bool:
    """Whether one output [N,D] may as well be a feature vector.

    It has no names, it is no softmax, and it has a unit length or as many numbers as embeddings
    have: 64, 96, 128, 512, ….
    """
    if [len(shape) for shape in outputs.shapes.values()] != [2] or outputs.labels:
        return False
    ((name, (_, size)),) = outputs.shapes.items()
    if outputs.values(name) != "logits":
        return False
    usual = size >= SMALLEST_VECTOR and size % VECTOR_STEP == 0
    return usual or unit_length(outputs.rows(name))


def fits(outputs: Outputs) -> bool:
    """One output [N,C] of scores."""
    ranks = [len(shape) for shape in outputs.shapes.values()]
    return ranks == [2] and not looks_like_features(outputs)


HEADS: Mapping[str, Head] = {"classify": Head(Classify, classify, fits)}
