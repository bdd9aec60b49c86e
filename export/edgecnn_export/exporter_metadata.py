"""What exporters write into a model file beside the graph: Ultralytics, YOLOv5 and PaddleOCR."""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecnn_runtime.tasks import TASKS

TEXT_LIMIT = 1 << 20
"""Characters of one entry; longer ones are not read."""
NAMES_LIMIT = 65536


@dataclass(frozen=True, kw_only=True)
class ExporterMetadata:
    """What a file says of its model. Every field is at its default where it says nothing.

    Attributes:
        task: As the exporter calls it: ``detect``, ``classify``, ``segment``, ``pose``, ``obb``.
        labels: Class names in class order.
        characters: Of a text reader, in class order without the blank.
        size: Of the network's input, height and width in pixels.
        stride: Pixels per cell of the coarsest grid.
        keypoint_shape: Key points per box, and numbers per key point (2 or 3).
        end_to_end: Whether the graph suppresses boxes itself; None where the file does not say.
        author: Who wrote the exporter.
        channels: Of the input; 3 where the file does not say.
    """

    task: str = ""
    labels: tuple[str, ...] = ()
    characters: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    stride: int = 0
    keypoint_shape: tuple[int, int] | None = None
    end_to_end: bool | None = None
    author: str = ""
    channels: int = 3

    @property
    def spec(self) -> dict[str, Any]:
        """The ExportConfig keys that it sets."""
        spec: dict[str, Any] = {}
        if self.size:
            spec["input"] = f"{self.size[1]}x{self.size[0]}"
        if self.task in TASKS:  # Ultralytics has the same names
            spec["task"] = self.task
        elif self.characters:
            spec["task"] = "ocr"
        if self.labels or self.characters:
            spec["labels"] = self.labels or self.characters
        if self.author == "Ultralytics":  # its networks take RGB or gray, 0..1
            spec |= {"preset": "unit", "color": "rgb" if self.channels == 3 else "gray"}
        return spec


NO_METADATA = ExporterMetadata()
"""Of a file that says nothing."""


def read_metadata(entries: Mapping[str, str]) -> ExporterMetadata:
    """Read what exporters wrote; an entry that is not in their form counts as not there.

    Args:
        entries: Texts by key, as an ONNX file's ``metadata_props`` has them. Ultralytics writes
            Python literals (``{0: 'person'}``, ``[640, 640]``, ``True``), PaddleOCR's converters
            one character per line.
    """
    values = {key: _literal(text) for key, text in entries.items() if len(text) <= TEXT_LIMIT}
    text = entries.get("character", "")
    characters = text.replace("\r", "").split("\n") if 0 < len(text) <= TEXT_LIMIT else []
    end_to_end = values.get("end2end")
    size, keypoints = _pair(values.get("imgsz")), _pair(values.get("kpt_shape"))
    stride = values.get("stride")
    return ExporterMetadata(
        task=entries.get("task", "").strip().lower()[:40],
        labels=_names(values.get("names")),
        characters=tuple(character for character in characters if character)[:NAMES_LIMIT],
        size=size if size and max(size) < 1 << 16 else None,
        stride=stride if isinstance(stride, int) and stride > 0 else 0,
        keypoint_shape=keypoints if keypoints and keypoints[1] in {2, 3} else None,
        author=entries.get("author", "").strip()[:40],
        channels=1 if values.get("channels") == 1 else 3,
        end_to_end=end_to_end if isinstance(end_to_end, bool) else None,
    )


def read_json_metadata(text: bytes) -> ExporterMetadata:
    """The same from the JSON that Ultralytics writes into TorchScript (``extra/config.txt``)."""
    try:
        values = json.loads(text[:TEXT_LIMIT])
    except (ValueError, RecursionError):
        return NO_METADATA
    if not isinstance(values, dict):
        return NO_METADATA
    if isinstance(names := values.get("names"), dict):
        values["names"] = {int(key) if key.isdecimal() else key: names[key] for key in names}
    return read_metadata(
        {key: value if isinstance(value, str) else repr(value) for key, value in values.items()}
    )


def _literal(text: str) -> Any:
    """The value of a Python literal; None where the text is none."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _names(value: Any) -> tuple[str, ...]:
    """Names in a list, or in a mapping from 0, 1, 2 …; empty where they are not."""
    if isinstance(value, dict):
        keys = range(len(value))
        value = [value[key] for key in keys] if value.keys() == set(keys) else []
    if not isinstance(value, list | tuple) or len(value) > NAMES_LIMIT:
        return ()
    names = tuple(str(name) for name in value)
    return names if all(names) else ()


def _pair(value: Any) -> tuple[int, int] | None:
    """Two positive numbers; one number counts twice."""
    numbers = (value, value) if isinstance(value, int) else value
    if not isinstance(numbers, list | tuple) or len(numbers) != 2:
        return None
    first, second = numbers
    if not all(isinstance(number, int) and number > 0 for number in (first, second)):
        return None
    return first, second
