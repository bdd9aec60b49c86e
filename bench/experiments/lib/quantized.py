"""INT8 exports for experiments, and what the tables print about them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import ExportResult, export
from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.bundle.manifest import Int8Target
from edgecnn_runtime.model import Model, open_model

ENGINES = ("onnxruntime", "openvino")
FORMS: tuple[Int8Target, ...] = ("cpu", "openvino")
"""The INT8 forms that these engines use on a processor with dot products of bytes."""


@dataclass(frozen=True)
class Int8Export:
    """An export with INT8, and how much of each target went back to float."""

    result: ExportResult

    @property
    def bundle(self) -> Bundle:
        """As it was written."""
        return self.result.bundle

    def form(self, engine: str) -> str:
        """The target whose INT8 graph this engine prefers; "" where none passed its gate."""
        passed = {result.target for result in self.result.int8.results if result.passed}
        preferred = (name for name in get_engine(engine).targets if name in passed)
        return next(preferred, "")

    def forms(self) -> list[dict[str, Any]]:
        """A row for each form that ENGINES use, and for each that did not pass its gate."""
        forms = [self.form(engine) for engine in ENGINES]
        unmet = [result.target for result in self.result.int8.unmet]
        return [self.row(target) for target in dict.fromkeys([*forms, *unmet]) if target]

    def row(self, target: str) -> dict[str, Any]:
        """Number of layers and of those in float, their share of the operations, the method."""
        (result,) = (each for each in self.result.int8.results if each.target == target)
        return {
            "target": target,
            "passed": result.passed,
            "verdict": result.best.verdict.text,
            "method": result.method,
            "layers": len(result.layers),
            "in_float": len(result.best.floats),
            "operations_in_float": sum(layer.cost for layer in result.layers if layer.in_float),
            "seconds": sum(self.result.seconds.values()),
        }


def export_int8(config: ExportConfig) -> Int8Export:
    """Run an export that asks for INT8."""
    return Int8Export(export(config))


def ungated(config: ExportConfig, folder: Path) -> ExportConfig:
    """The same export with a gate that passes everything, for experiments on speed alone.

    Speed does not depend on the values of weights, but random ones amplify every rounding, and
    the gate would return layers to float that it leaves in INT8 once the network is trained.
    """
    names = [str(file) for file in sorted(Path(config.images).iterdir())]
    table = folder / "labels.tsv"
    table.write_text("\n".join(["file\tlabel", *(f"{name}\t0" for name in names)]) + "\n")
    return msgspec.structs.replace(config, eval_data=str(table), max_drop=100.0)


def open_artifact(int8: Int8Export, artifact: str, engine: str, precision: str = "f32") -> Model:
    """One artifact, ``fp32`` or ``int8-cpu``, on one engine, self-tested; 2 threads.

    Also on an engine that would not choose it: ONNX Runtime can run TensorRT's form too.
    """
    file = f"model.{artifact}.onnx"
    (entry,) = (each for each in int8.bundle.manifest.artifacts if each.file == file)
    candidate = Candidate(entry, engine, precision, 2, "it is what is measured")
    return open_model(int8.bundle, candidate, cache_dir=int8.bundle.path.parent / "cache")


def in_float(form: dict[str, Any]) -> str:
    """``3 of 21 (12.3%)``: layers in float and their share of the operations."""
    share = 100 * form["operations_in_float"]
    return f"{form['in_float']} of {form['layers']} ({share:.3g}%)"


def forms_in_float(row: dict[str, Any]) -> str:
    """The same of every form in ``row["forms"]``, by name."""
    return ", ".join(f"{form['target']}: {in_float(form)}" for form in row["forms"])
