"""Tasks, heads, labels and colors, as far as they can be checked before a model is loaded."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from edgecnn_export import heads
from edgecnn_export.config import ExportConfig
from edgecnn_export.planning.labels import read_labels
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.tasks import TASKS


def check_names(config: ExportConfig) -> str | None:
    """Check that task and head exist and fit each other, and that labels can be read.

    Returns:
        The task; None where the model has to tell.

    Raises:
        UsageError: They do not.
    """
    if config.task not in {None, *TASKS}:
        raise UsageError(f"--task {config.task}: expected one of {', '.join(TASKS)}")
    head = requested_head(config)
    read_labels(config)
    _check_decode(config.decode)
    return heads.task_of_head(head, config.task) if head else config.task


def _check_decode(settings: Mapping[str, Any]) -> None:
    """Check the types of decode settings; which of them a head has, its own reading checks."""
    specs = dict.fromkeys(spec for task in TASKS.values() for spec in task.decoders)
    for key, value in settings.items():
        types = [field.type for s in specs for field in msgspec.structs.fields(s)
                 if field.name == key]  # fmt: skip
        problems = [problem for kind in types if (problem := _problem(value, kind))]
        if types and len(problems) == len(types):
            text = json.dumps({key: value}, default=str)
            raise UsageError(f"--decode '{text}': {key}: {problems[0]}")


def _problem(value: Any, kind: Any) -> str:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def requested_head(config: ExportConfig) -> str:
    """The head that the user named; "" where it is to be guessed."""
    return "" if config.head == "auto" else config.head or ""


def read_pad(pad: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The letterbox's color as B,G,R, where one value is a gray; None where it is not set.

    Raises:
        UsageError: It is no color.
    """
    if pad is None:
        return None
    if len(pad) not in {1, 3} or not all(0 <= value <= 255 for value in pad):
        raise UsageError("--pad is one gray value or B,G,R, each 0..255, for instance --pad 114")
    return pad * 3 if len(pad) == 1 else pad
