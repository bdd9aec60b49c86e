"""Does it pay to read the crops of one frame together, and does the reader know when it does?

Rendered crops in a 1080p frame, read by second models of three sizes: one by one, all of them in
one run, and as the reader decides by what it measured when it was opened. In alternating bursts, a
frame of one, two and four crops each. Reached: what it decides takes at most 1.1 times as long as
the faster of both, medians.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from lib.experiment import Experiment, Options, Row, main
from lib.mobilenet import export_mobilenet
from lib.trained import TRAINED

from edgecnn_export.pipeline import export
from edgecnn_runtime import load
from edgecnn_runtime.preprocess import Region
from edgecnn_runtime.stages.model_reader import CROPS_PER_RUN, ModelReader
from edgecnn_runtime.types import Frame

NETWORKS = ("digits", "PP-OCRv6_rec_small", "MobileNetV2")
CROPS = (1, 2, CROPS_PER_RUN)
ROUNDS, QUICK, BURST = 20, 3, 10
LIMIT = 1.1


def measure(options: Options) -> Iterator[Row]:
    """One row per network and number of crops."""
    pixels = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    frame = Frame(pixels, 0, 0.0, None, "rendered")
    for name in options.names:
        with tempfile.TemporaryDirectory() as folder:
            bundle = export_network(name, Path(folder), options.cache)
            single = load(bundle, cache_dir=folder)
            together = load(bundle, batch=CROPS_PER_RUN, cache_dir=folder)
            with single, together:
                readers = {
                    "single": ModelReader(single),
                    "together": ModelReader(together),
                    "decides": ModelReader(single, together),
                }
                for count in CROPS:
                    regions = [(100 + 300 * i, 200, 160, 90) for i in range(count)]
                    rounds = QUICK if options.quick else ROUNDS
                    ms = time_readers(readers, frame, regions, rounds)
                    best = min(ms["single"], ms["together"])
                    yield {
                        "what": f"{name}, {count} crops",
                        "value": ms["decides"] / best,
                        "goal": LIMIT,
                        "unit": "times the best",
                        "ms": ms,
                        "run_ms": [1000 * each for each in readers["decides"].run_seconds],
                    }


def export_network(name: str, folder: Path, cache: Path) -> Path:
    """The network's float bundle."""
    if name == "MobileNetV2":
        return export_mobilenet(folder)
    return export(TRAINED[name](cache).config(out=str(folder / "reader.edge"))).bundle.path


def time_readers(
    readers: Mapping[str, Callable[..., object]],
    frame: Frame,
    regions: list[Region],
    rounds: int,
) -> dict[str, float]:
    """Median milliseconds per frame of each, in alternating bursts."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            for _ in range(BURST):
                start = time.perf_counter()
                read(frame, regions)
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: float(np.median(values)) for name, values in times.items()}


COLUMNS = {
    "": "{what}",
    "one by one": lambda row: f"{row['ms']['single']:.2f} ms",
    "together": lambda row: f"{row['ms']['together']:.2f} ms",
    "as it decides": lambda row: f"{row['ms']['decides']:.2f} ms",
    "of the best": "{value:.2f}",
    "goal": "≤ {goal:g}",
}

if __name__ == "__main__":
    experiment = Experiment(
        name="crop_batches",
        title="Crops of one frame, read by a second model",
        measure=measure,
        columns=COLUMNS,
        names=NETWORKS,
    )
    sys.exit(main(__doc__, experiment))
