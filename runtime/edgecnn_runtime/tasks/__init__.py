"""What the product can do with a picture; a new task is one file here and one line in TASKS."""

from collections.abc import Mapping
from typing import Any

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.decode.base import Decoder, QuietDecoder
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.tasks import classify, detect, embed, obb, ocr, pose, segment
from edgecnn_runtime.tasks.base import Task
from edgecnn_runtime.types import Result

__all__ = ["TASKS", "Task", "make_decoder", "task_of"]

TASKS: Mapping[str, Task[Any]] = {
    "classify": classify,
    "ocr": ocr,
    "detect": detect,
    "embed": embed,
    "pose": pose,
    "segment": segment,
    "obb": obb,
}
"""Every task by its name in manifests, settings and on the command line. A table of results has
their columns in this order, so a new task is added at the end."""


def task_of(model: ModelSpec) -> Task[Any]:
    """The task of a model.

    Raises:
        BundleError: This version knows no such task.
    """
    if model.task not in TASKS:
        raise BundleError(
            f"the bundle's task is {model.task!r}, and this version knows {', '.join(TASKS)}: "
            "install the edgecnn-runtime that the bundle was made for"
        )
    return TASKS[model.task]


def make_decoder(model: ModelSpec) -> Decoder[Result]:
    """The decoder of a model's outputs.

    Raises:
        BundleError: The task is unknown or has no such head, or head and output shapes disagree.
    """
    decoders = task_of(model).decoders
    head = type(model.decode)
    if head not in decoders:
        raise BundleError(f"the bundle's task {model.task!r} has no {head.__name__} head")
    return QuietDecoder(decoders[head](model.decode, model))
