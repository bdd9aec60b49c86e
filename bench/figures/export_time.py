"""What the whole of export costs over the bare `torch.onnx.export` of the same model.

Both sides build the module, load its state dict and write an ONNX file with a dynamic batch; ours
also folds, optimises, verifies on every engine, and packs. In one process, interleaved, one round
to warm up; the ratio is the median of the rounds' ratios.
Reached: ≤ 1.3 times, or at most 1.5 s more.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from lib.material import need_assets
from lib.networks import build, photographs, save_network
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result

if TYPE_CHECKING:
    from edgecnn_export.config import ExportConfig

NAMES = ("resnet18", "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_lite0", "repvgg_a0")
ROUNDS = 3
RATIO, EXTRA_S = 1.3, 1.5


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    need_assets()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, Console().status("exporting"):
        folder = Path(name)
        pictures = photographs(folder / "pictures")
        for arch in NAMES:
            config = save_network(arch, folder, pictures)
            pairs = [(bare(arch, config, folder), ours(config)) for _ in range(ROUNDS + 1)][1:]
            ratio = median(b / a for a, b in pairs)
            extra = median(b - a for a, b in pairs)
            rows.append(
                {
                    "arch": arch,
                    "bare_s": [a for a, _ in pairs],
                    "ours_s": [b for _, b in pairs],
                    "ratio": ratio,
                    "extra_s": extra,
                    "reached": ratio <= RATIO or extra <= EXTRA_S,
                }
            )
    write_result("export_time", {"ratio": RATIO, "extra_s": EXTRA_S, "rows": rows})
    table = Table("architecture", "bare", "ours", "ratio", "extra", "", title="export time")
    for row in rows:
        verdict = "" if row["reached"] else "MISSED"
        seconds = (f"{median(row[side]):.2f} s" for side in ("bare_s", "ours_s"))
        more = f"{row['extra_s']:+.2f} s"
        table.add_row(row["arch"], *seconds, f"{row['ratio']:.2f}", more, verdict)
    Console().print(table)
    return 0 if all(row["reached"] for row in rows) else 1


def bare(arch: str, config: "ExportConfig", folder: Path) -> float:
    """Seconds to load the state dict and write its ONNX, as torch's documentation does it."""
    import contextlib
    import io
    import warnings

    import torch

    start = time.perf_counter()
    module = build(arch)
    module.load_state_dict(torch.load(config.model, weights_only=True))
    sample = torch.zeros(2, *module.pretrained_cfg["input_size"])
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (sample,), folder / "bare.onnx", dynamo=True, external_data=False,
            opset_version=20, dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
        )  # fmt: skip
    return time.perf_counter() - start


def ours(config: "ExportConfig") -> float:
    """Seconds for the verified bundle."""
    from edgecnn_export.pipeline import export

    start = time.perf_counter()
    export(config)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
