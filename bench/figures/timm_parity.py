"""Does an exported graph do what the PyTorch module does? timm's architectures, default flags.

Random weights, batch normalisation set from 16 photographs, then `export` as a person types it;
what it verified, through raw pixels on every engine here at f32, is what is reported. The cosine
is the smallest over the photographs, after subtracting the mean output.
Reached: every export succeeds, and every cosine is ≥ 0.9999.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lib.material import need_assets
from lib.networks import photographs, save_network
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result
from edgecnn_runtime.errors import EdgecnnError

NAMES = (
    "resnet18", "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_lite0", "repvgg_a0",
    "ghostnet_100", "regnety_002", "convnext_atto", "shufflenet_v2_x1_0", "vit_tiny_patch16_224",
    "mobilenetv4_conv_small", "densenet121", "tinynet_a", "res2net50_26w_4s", "mobilevit_xxs",
    "edgenext_xx_small", "levit_128s", "fastvit_t8", "resmlp_12_224", "hrnet_w18_small",
)  # fmt: skip
GATE = 0.9999


def main() -> int:
    """Export, print, write; 0 when everything is reached."""
    need_assets()
    names = sys.argv[1:] or NAMES
    console = Console()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = photographs(folder / "pictures")
        for arch in names:
            with console.status(arch):
                rows.append(measure(arch, folder, pictures))
    reached = all(row["cosine"] and min(row["cosine"].values()) >= GATE for row in rows)
    if not sys.argv[1:]:
        write_result("timm_parity", {"gate": GATE, "rows": rows, "reached": reached})
    engines = sorted({engine for row in rows for engine in row["cosine"]})
    table = Table("architecture", *engines, "nodes", "seconds", title="smallest centred cosine")
    for row in rows:
        cosines = [f"{row['cosine'].get(engine, float('nan')):.7f}" for engine in engines]
        nodes = f"{row['nodes_before']} → {row['nodes_after']}" if row["cosine"] else row["error"]
        table.add_row(row["arch"], *cosines, nodes, f"{row['seconds']:.1f}")
    console.print(table)
    return 0 if reached else 1


def measure(arch: str, folder: Path, pictures: Path) -> dict[str, Any]:
    """One architecture, exported and verified."""
    import msgspec

    from edgecnn_export.pipeline import export

    config = save_network(arch, folder, pictures)
    start = time.perf_counter()
    try:
        result = export(config)
    except EdgecnnError as error:
        return {
            "arch": arch, "cosine": {}, "error": str(error),
            "seconds": time.perf_counter() - start,
        }  # fmt: skip
    seconds = time.perf_counter() - start
    manifest = result.bundle.manifest
    cosine = {
        run.engine: min(parity.cosine for parity in run.parity.values())
        for run in manifest.artifacts[0].runs
    }
    report = msgspec.json.decode((result.bundle.path / "report.json").read_bytes())
    before, after = report["before"]["nodes"], report["after"]["nodes"]
    return {
        "arch": arch, "cosine": cosine, "nodes_before": before, "nodes_after": after,
        "seconds": seconds,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
