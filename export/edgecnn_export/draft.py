"""A bundle while it is made: each phase of an export takes what is known and returns more of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx

from edgecnn_export.config import ExportConfig
from edgecnn_export.half_precision.step import Half
from edgecnn_export.loading.loaded import LoadedModel
from edgecnn_export.planning.resolve import Plan
from edgecnn_export.quantization.step import Int8
from edgecnn_export.verification.images import NetworkImages
from edgecnn_export.verification.reference import Reference
from edgecnn_export.verification.verify import Check, Verifier
from edgecnn_runtime.bundle.manifest import Artifact
from edgecnn_runtime.types import Floats


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """A model that is understood: what it takes and gives, and the images it is verified on.

    Attributes:
        config: The settings, merged with what the model file declares.
        loaded: The model as it was read.
        traced: The model as a float graph.
        reference: The model as its author ran it.
        plan: The bundle's name and the model's spec.
        images: The verification images at network input.
        outputs: The reference's outputs for them, float32[N,…] by name, the batch first.
    """

    config: ExportConfig
    loaded: LoadedModel
    traced: onnx.ModelProto
    reference: Reference
    plan: Plan
    images: NetworkImages
    outputs: Mapping[str, Floats]


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A bundle in the making. A bundle can be assembled of every draft that has checks.

    Attributes:
        model: What is exported.
        graph: Its float graph, folded and optimized: what is quantized.
        artifact: The float artifact, written.
        verifier: The bundle's folder, the model's spec and the reference's outputs.
        checks: Every artifact on every engine, all passed.
        warnings: What a person has to know, the most serious first.
        half: What half precision gave.
        int8: What quantization gave.
    """

    model: PlannedModel
    graph: onnx.ModelProto
    artifact: Artifact
    verifier: Verifier
    warnings: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    half: Half = field(default_factory=Half)
    int8: Int8 = field(default_factory=Int8)
