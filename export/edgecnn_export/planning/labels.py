"""Class names and characters: read, and counted against the model's classes."""

from pathlib import Path

from edgecnn_export.config import ExportConfig
from edgecnn_export.heads.base import Outputs, numbered
from edgecnn_runtime.bundle.manifest import (
    AnchorFree,
    Classify,
    Ctc,
    Decode,
    Embed,
    Semantic,
    Ssd,
    Yolo,
)
from edgecnn_runtime.errors import UsageError

LABELS_LIMIT = 4 << 20
BACKGROUND = "background"


def read_labels(config: ExportConfig) -> tuple[str, ...] | None:
    """Class names, or characters of a text reader; None where --labels is not set.

    Raises:
        UsageError: The file cannot be read, is not UTF-8, or has an empty line.
    """
    if config.labels is None or isinstance(config.labels, tuple):
        return config.labels
    path = Path(config.labels)
    try:
        if path.stat().st_size > LABELS_LIMIT:
            raise UsageError(f"--labels {path}: over {LABELS_LIMIT >> 20} MiB: not a list of names")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--labels {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--labels {path}: is not UTF-8 text with one name per line") from None
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line:
            raise UsageError(f"--labels {path}:{number}: an empty line; every line is one name")
    return tuple(lines)


def class_names(
    decode: Decode, outputs: Outputs, labels: tuple[str, ...] | None
) -> tuple[str, ...]:
    """One name per class; empty for a head without classes.

    Args:
        decode: The head.
        outputs: The model's outputs.
        labels: The user's names, or None.

    Raises:
        UsageError: There are more or fewer names than classes.
    """
    if isinstance(decode, Ctc):
        axis = {"NTC": 2, "NCT": 1, "TNC": 2}[decode.layout]
        classes = outputs.shapes[decode.output][axis]
        if len(decode.charset) + 1 != classes:
            raise UsageError(
                f"{len(decode.charset)} characters (--labels) for {classes} classes of output "
                f"{decode.output}: every class but the blank needs one, {classes - 1} in all"
            )
        return ()
    count = _class_count(decode, outputs)
    if isinstance(decode, Semantic) and outputs.shapes[decode.output][1] == 1:
        return _two_names(labels)
    if count is None:
        return labels or ()
    if labels is None or not count:
        return ("face",) if _is_face_head(decode) else numbered(count)
    if len(labels) != count:
        source = "the file itself" if labels == outputs.metadata.labels else "--labels"
        raise UsageError(
            f"{source} has {len(labels)} names, but the model has {count} classes"
            + _key_point_hint(decode, count - len(labels))
        )
    return labels


def _class_count(decode: Decode, outputs: Outputs) -> int | None:
    """How many classes the outputs have; None where the head does not show it."""
    if isinstance(decode, Classify):
        columns = outputs.shapes[decode.output][1]
        return columns if columns > 1 else 2
    if isinstance(decode, Ssd):
        return outputs.shapes[decode.scores][2] - int(decode.background)
    if isinstance(decode, AnchorFree):
        return 1
    if isinstance(decode, Semantic):
        return outputs.shapes[decode.output][1]
    return 0 if isinstance(decode, Embed) else getattr(decode, "classes", None)


def _two_names(labels: tuple[str, ...] | None) -> tuple[str, ...]:
    """Those of one channel: the rest, and what it shows."""
    names = labels or ("foreground",)
    if len(names) > 2:
        raise UsageError(
            f"{len(names)} names (--labels) for a map of one channel: it takes one name, of what "
            "it shows, or two, the background's first"
        )
    return names if len(names) == 2 else (BACKGROUND, *names)


def _key_point_hint(decode: Decode, extra: int) -> str:
    """The setting for a pose model, whose key points would look like classes."""
    dims = next((dims for dims in (3, 2) if extra > 0 and extra % dims == 0), 0)
    if not isinstance(decode, Yolo) or decode.layout == "nms" or not dims:
        return ""
    setting = f'{{"points": {extra // dims}, "point_dims": {dims}}}'
    return f". If its last {extra} columns are key points: --decode '{setting}'"


def _is_face_head(decode: Decode) -> bool:
    return isinstance(decode, AnchorFree) or (isinstance(decode, Ssd) and decode.points == 5)
