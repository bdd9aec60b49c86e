"""INT8 bundles of figures: made, and read back as what a table says of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgecnn_export.config import ExportConfig, Target
from edgecnn_export.pipeline import ExportResult, export
from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.model import Model, open_model
from edgecnn_runtime.selection.candidates import Candidate

ENGINES = ("onnxruntime", "openvino")
FORMS: tuple[Target, ...] = ("cpu", "openvino")
"""What they take on a processor with dot products of bytes."""


@dataclass(frozen=True)
class Int8Made:
    """An export with INT8, and how much of each target went back to float."""

    result: ExportResult

    @property
    def bundle(self) -> Bundle:
        """As it was written."""
        return self.result.bundle

    def form(self, engine: str) -> str:
        """The target whose INT8 graph this engine takes first; "" where none passed its gate."""
        passed = {one.target for one in self.result.int8.results if one.passed}
        taken = (name for name in get_engine(engine).targets if name in passed)
        return next(taken, "")

    def forms(self) -> list[dict[str, Any]]:
        """A row for each form that ENGINES take, and for what was not made."""
        taken = [self.form(engine) for engine in ENGINES]
        unmet = [one.target for one in self.result.int8.unmet]
        return [self.row(target) for target in dict.fromkeys([*taken, *unmet]) if target]

    def row(self, target: str) -> dict[str, Any]:
        """layers and those of them in float, their share of the operations, how it was made."""
        (found,) = (one for one in self.result.int8.results if one.target == target)
        return {
            "target": target,
            "passed": found.passed,
            "verdict": found.best.verdict.text,
            "method": found.method,
            "layers": len(found.layers),
            "in_float": len(found.returned),
            "operations_in_float": sum(layer.cost for layer in found.layers if layer.in_float),
            "seconds": sum(self.result.seconds.values()),
        }


def export_int8(config: ExportConfig) -> Int8Made:
    """Run the export that ``config`` says, INT8 among it."""
    return Int8Made(export(config))


def ungated(config: ExportConfig, folder: Path) -> ExportConfig:
    """The same export with a gate that lets everything through, for figures of speed alone.

    Speed does not depend on what weights say, but random ones amplify every rounding, and the
    gate would return layers to float that it leaves in INT8 once the network is trained.
    """
    names = [str(file) for file in sorted(Path(config.images).iterdir())]
    table = folder / "labels.tsv"
    table.write_text("\n".join(["file\tlabel", *(f"{name}\t0" for name in names)]) + "\n")
    return msgspec.structs.replace(config, eval_data=str(table), max_drop=100.0)


def open_artifact(made: Int8Made, artifact: str, engine: str, precision: str = "f32") -> Model:
    """One artifact, ``fp32`` or ``int8-cpu``, on one engine, self-tested; 2 threads.

    Also on an engine that would not choose it: ONNX Runtime computes what TensorRT's form says.
    """
    file = f"model.{artifact}.onnx"
    (entry,) = (one for one in made.bundle.manifest.artifacts if one.file == file)
    candidate = Candidate(entry, engine, precision, 2, "it is what is measured")
    return open_model(made.bundle, candidate, cache_dir=made.bundle.path.parent / "cache")


def in_float(row: dict[str, Any]) -> str:
    """``3 of 21 (12.3%)``: layers in float and their share of the operations."""
    share = 100 * row["operations_in_float"]
    return f"{row['in_float']} of {row['layers']} ({share:.3g}%)"
