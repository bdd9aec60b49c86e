"""From the shapes, names and values of a graph's outputs to the settings that decode them.

Each file knows the heads of one family, as HEADS. A new family is one file and one line in
FAMILIES. A head without a file goes by its tag in the manifest and is set with ``--decode``.
"""

import contextlib
from collections.abc import Mapping

from edgecnn_export.heads import (
    anchor_free,
    classify,
    ctc,
    detr,
    embed,
    gfl,
    obb,
    pose,
    ranked,
    segment,
    ssd,
    yolo,
)
from edgecnn_export.heads.base import Fields, Head, Outputs
from edgecnn_export.heads.classify import looks_like_features
from edgecnn_runtime.bundle.manifest import Decode
from edgecnn_runtime.config import from_plain
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.tasks import TASKS

FAMILIES: tuple[Mapping[str, Head], ...] = (
    classify.HEADS,
    anchor_free.HEADS,
    segment.HEADS,
    detr.HEADS,
    ranked.HEADS,
    gfl.HEADS,
    ssd.HEADS,
    yolo.HEADS,
    ctc.HEADS,
    embed.HEADS,
    pose.HEADS,
    obb.HEADS,
)
"""In the order in which outputs are compared with them: what is sure by its names comes first."""

HEADS: Mapping[str, Head] = {name: head for family in FAMILIES for name, head in family.items()}
"""By the name on the command line."""


def no_fields(_outputs: Outputs) -> Fields:
    """Nothing: of a head that the user sets with --decode."""
    return {}


def heads_of(task: str) -> dict[str, Head]:
    """The heads of a task by name: those of HEADS, and any other of its decoders by its tag."""
    specs = TASKS[task].decoders
    heads = {name: head for name, head in HEADS.items() if head.spec in specs}
    named = [head.spec for head in heads.values()]
    others = {
        spec.__struct_config__.tag: Head(spec, no_fields) for spec in specs if spec not in named
    }
    return heads | others


def task_of_head(head: str, task: str | None) -> str:
    """The task a head is for.

    Args:
        head: Its name on the command line.
        task: The user's; None takes the first that has such a head.

    Raises:
        UsageError: No task, or not this one, has such a head.
    """
    tasks = [name for name in TASKS if head in heads_of(name)]
    if not tasks:
        heads = dict.fromkeys(head for name in TASKS for head in heads_of(name))
        raise UsageError(f"--head {head}: expected one of auto, {', '.join(heads)}")
    if task not in {None, *tasks}:
        raise UsageError(f"--task {task} and --head {head} do not go together")
    return task or tasks[0]


def guess_head(outputs: Outputs, task: str | None) -> str:
    """The head these outputs belong to, by name, shape and task.

    Raises:
        UsageError: No head, or more than one, has such outputs.
    """
    heads = heads_of(task) if task else HEADS
    if outputs.shapes and all(shape[2:] == (1, 1) for shape in outputs.shapes.values()):
        raise UsageError(
            "an output has one cell only, as scores or features of a whole picture have: return "
            f"output.flatten(1), and export it again; {outputs}"
        )
    if len(heads) == 1:
        return next(iter(heads))
    for name, head in heads.items():
        if head.fits(outputs):
            return name
    if looks_like_features(outputs):
        ((name, shape),) = outputs.shapes.items()
        raise UsageError(
            f"are the {shape[1]} numbers of {name!r} a feature vector, or scores of classes? They "
            "have no names and do not sum to one: --task embed, or --task classify (--labels FILE "
            f"names the classes); {outputs}"
        )
    if [len(shape) for shape in outputs.shapes.values()].count(3) == 1:
        raise UsageError(
            f"cannot tell the head: no YOLO layout has such a shape at {outputs.width}x"
            f"{outputs.height}; {outputs}. Check --input, or set --head (a text reader: --task ocr)"
        )
    names = ", ".join(name for name in heads if _can_read(name, outputs))
    advice = f"set --head: {names}" if names else "edgecnn has no head that fits them"
    raise UsageError(f"cannot tell the head from the outputs: {outputs}; {advice}")


def _can_read(head: str, outputs: Outputs) -> bool:
    """Whether a head can read these outputs by their shapes, so that naming it may help."""
    if head not in HEADS:
        return True
    with contextlib.suppress(UsageError):
        HEADS[head].read(outputs)
        return True
    return False


def read_head(head: str, task: str, outputs: Outputs) -> Decode:
    """The decode settings of a head: those of the outputs, overridden by the user's.

    Args:
        head: Its name on the command line.
        task: A task that has such a head.
        outputs: The model's outputs.

    Raises:
        UsageError: The outputs do not belong to such a head.
        ConfigError: An option is unknown or invalid.
    """
    found = heads_of(task)[head]
    tag = found.spec.__struct_config__.tag
    fields = {"head": tag, **found.read(outputs), **outputs.options}
    decode: Decode = from_plain(fields, found.spec, f"decode settings of a {head} head")
    return decode
