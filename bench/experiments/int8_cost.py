"""What INT8 costs at export: seconds, memory, and the layers that return to float, by network.

YuNet on every frame of the face video, CenterFace as published, YOLOv8n on 100 photographs of
streets, and classifiers on 100 crops of photographs; random weights with statistics of photographs
where no trained ones can be had. Each export runs in a process of its own with the default targets;
the clock and the peak of resident memory are of the whole process, importing torch and the float
export included. Which forms this processor judges by exact sums is in ``saturates``.
Reached: YOLOv8n ≤ 360 s and ≤ 3 GB, YuNet and MobileNetV2 ≤ 90 s each.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from lib.experiment import Experiment, Options, Row, main
from lib.fresh_process import in_fresh_process

GOALS = {"yolov8n": 360.0, "yunet": 90.0, "mobilenetv2_100": 90.0}
NETWORKS = (*GOALS, "resnet18", "mobilenetv3_large_100", "centerface", "convnext_atto")
PICTURES, GIGABYTES = 100, 3.0
SETTINGS = "settings.json"


def measure(options: Options) -> Iterator[Row]:
    """One export per network."""
    from edgecnn_runtime.device.cpu import cpu_features, saturates

    for name in ["yunet"] if options.quick else options.names:
        with tempfile.TemporaryDirectory() as folder:
            in_fresh_process(prepare, folder, name)
            start = time.perf_counter()
            usage = in_fresh_process(quantize, folder)
            seconds = time.perf_counter() - start
            report = msgspec.json.decode((Path(folder) / "model.edge" / "report.json").read_bytes())
        targets = report["int8"]["targets"]
        yield {
            "network": name,
            "seconds": seconds,
            "goal": GOALS.get(name),
            **usage,
            "saturates": saturates(cpu_features()),
            "targets": {
                target["target"]: {
                    "passed": target["passed"],
                    "verdict": target["best"]["verdict"]["text"],
                    "layers": len(target["layers"]),
                    "in_float": sum(layer["in_float"] for layer in target["layers"]),
                }
                for target in targets
            },
        }


def reached(row: Row) -> bool:
    """Whether it is quick and small enough, and every form passes its gate."""
    passed = all(target["passed"] for target in row["targets"].values())
    return bool(row["seconds"] <= (row["goal"] or 1e9) and row["gb"] <= GIGABYTES and passed)


def prepare(folder: str, name: str) -> None:
    """Write weights, pictures and the export's settings."""
    (Path(folder) / SETTINGS).write_bytes(msgspec.json.encode(network(name, Path(folder))))


def network(name: str, folder: Path) -> Any:
    """The ExportConfig of a network with INT8, its files in ``folder``."""
    from lib.material import photographs_apart, video_frames, write_pictures
    from lib.timm_models import int8_network
    from lib.trained import TRAINED

    from edgecnn_export.config import ExportConfig

    photographs, _ = photographs_apart()
    out = {"out": str(folder / "model.edge"), "work_dir": str(folder / "work")}
    if name in TRAINED:
        frames = write_pictures(folder / "frames", video_frames())
        config = TRAINED[name]().int8_config(str(folder))
        return msgspec.structs.replace(config, calib=str(frames), **out)
    if name == "yolov8n":
        from lib import yolov8n
        from lib.timm_models import photographs as small_photographs
        from lib.timm_models import reference_preprocess, save_weights

        size = (yolov8n.WIDTH, yolov8n.HEIGHT)
        planes = reference_preprocess(small_photographs(*size), (0.0,) * 3, (1.0,) * 3)
        save_weights(yolov8n.random_yolov8n(planes), folder / "weights.pt")
        pictures = write_pictures(folder / "pictures", photographs[:PICTURES])
        return ExportConfig(
            model=str(folder / "weights.pt"), arch="lib.yolov8n:yolov8n", preset="unit",
            input=f"{size[0]}x{size[1]}", color="rgb", task="detect", head="yolov8",
            labels=tuple(f"class {n}" for n in range(yolov8n.CLASSES)),
            images=str(pictures), calib=str(pictures), int8=True, **out,
        )  # fmt: skip
    _, config = int8_network(name, folder, photographs[:PICTURES])
    return msgspec.structs.replace(config, targets=None, **out)


def quantize(folder: str) -> dict[str, Any]:
    """Run the export; return the process's seconds of CPU and its peak memory in gigabytes."""
    from lib.timm_models import import_timm

    from edgecnn_export.config import ExportConfig
    from edgecnn_export.pipeline import export

    import_timm()
    export(msgspec.json.decode((Path(folder) / SETTINGS).read_bytes(), type=ExportConfig))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_seconds": usage.ru_utime + usage.ru_stime, "gb": usage.ru_maxrss * 1024 / 1e9}


def layers(row: Row) -> str:
    """``cpu 3 of 61, trt 5 of 61``."""
    return ", ".join(
        f"{name} {target['in_float']} of {target['layers']}" + ("" if target["passed"] else " ✗")
        for name, target in row["targets"].items()
    )


if __name__ == "__main__":
    experiment = Experiment(
        name="int8_cost",
        title="exporting with INT8: time, memory, layers in float",
        measure=measure,
        reached=reached,
        columns={
            "network": "{network}", "seconds": "{seconds:.0f}", "of CPU": "{cpu_seconds:.0f}",
            "peak GB": "{gb:.2f}", "layers in float": layers,
        },
        names=NETWORKS,
        facts={"goal_seconds": GOALS, "goal_gb": GIGABYTES, "pictures": PICTURES},
    )  # fmt: skip
    sys.exit(main(__doc__, experiment))
