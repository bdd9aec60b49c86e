"""The settings of a benchmark; a field's description is its --help text."""

from typing import Annotated

import msgspec
from msgspec import Meta

from edgecnn_bench.schema import Scope


class BenchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to benchmark; everything has a default."""

    scopes: Annotated[
        tuple[Scope, ...] | None,
        Meta(description="engine, frame, stream (default: engine, frame; stream with --source)"),
    ] = None
    source: Annotated[
        str, Meta(description="video or pictures to take frames from (default: golden pictures)")
    ] = ""
    backends: Annotated[
        tuple[str, ...] | None, Meta(description="engines to time (default: all present here)")
    ] = None
    precisions: Annotated[
        tuple[str, ...] | None, Meta(description="f32, bf16, f16 (default: all an engine offers)")
    ] = None
    artifacts: Annotated[
        tuple[str, ...] | None, Meta(description="fp32, int8-cpu, … (default: all that fit)")
    ] = None
    threads: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=1024)], ...] | None,
        Meta(description="thread counts (default: one, and every core)"),
    ] = None
    batch: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=4096)], ...],
        Meta(description="frames per run, engine scope (default: 1)"),
    ] = (1,)
    checkpoint: Annotated[
        str, Meta(description="also time this model.pt in torch: eager and torch.compile")
    ] = ""

    arch: Annotated[
        str, Meta(description="package.module:factory of a --checkpoint that is a state dict")
    ] = ""

    seconds: Annotated[
        float, Meta(ge=0.05, le=86400, description="measuring time per row, after the warm-up")
    ] = 4.0
    rounds: Annotated[
        int, Meta(ge=2, le=1000, description="how many times all rows take turns")
    ] = 30
    warmup: Annotated[
        float, Meta(ge=0.0, le=600, description="seconds each row runs before the rounds")
    ] = 0.5
    starts: Annotated[
        int, Meta(ge=0, le=100, description="fresh processes per row, for cold start and memory")
    ] = 3
    sustained: Annotated[
        float, Meta(ge=0.0, le=1440, description="then run the fastest row for so many minutes")
    ] = 0.0
    seed: Annotated[int, Meta(ge=0, description="of the order in which rows take turns")] = 0
    unverified: Annotated[
        bool, Meta(description="also time rows that fail their self-test, and mark them")
    ] = False
