"""OpenCV's FaceDetectorYN against a YuNet bundle: the same weights, the same 1080p frames.

Both get decoded frames from memory, find faces at 640x352 and give boxes in frame pixels, on all
cores. Reached: every face that OpenCV scores over 0.8 is found again with IoU ≥ 0.9 (in INT8 99 %
of them), at 2.5 times its rate.
"""

import subprocess
import sys
from pathlib import Path

from lib.material import (
    ASSETS,
    HEIGHT,
    IOU,
    SCORE,
    WIDTH,
    export_yunet,
    video_frames,
    write_pictures,
)
from runner.boxes import overlaps
from runner.race import faster, race
from runner.rows import BaselineRow
from runner.setting import Setting

from edgecnn_runtime.types import Pixels

VIDEO = ASSETS / "faces" / "video.mp4"
WEIGHTS = ASSETS / "yunet" / "yunet_n_640_640.onnx"
"""OpenCV 4 reads only the file of fixed size, and then takes any."""
CONFIDENT, OVERLAP, GOAL = 0.8, 0.9, 2.5
THEIRS = "FaceDetectorYN"
ALL, NEARLY = 1.0, 0.99


def compare(setting: Setting) -> list[BaselineRow]:
    """Float on both sides, and the fastest form that passed its gate against their float."""
    frames = video_frames()
    folders = [setting.folder / name for name in ("float", "int8")]
    for folder in folders:
        folder.mkdir()
    full = export_yunet(folders[0], frames)
    calib = write_pictures(folders[1] / "calib", frames[::2])
    int8 = export_yunet(folders[1], frames, f"--int8 --calib {calib}")
    select = f"bench {int8} --select --cache-dir {folders[1]} --seconds 3"
    subprocess.run([sys.executable, "-m", "edgecnn", *select.split()], check=True, stdout=2)
    return [
        race_faces(setting, frames, full, folders[0], ALL, precision="f32"),
        race_faces(setting, frames, int8, folders[1], NEARLY),
    ]


def race_faces(
    setting: Setting, frames: list[Pixels], bundle: Path, cache: Path, share: float, **how: str
) -> BaselineRow:
    """One bundle against FaceDetectorYN, of whose faces this share has to be found again."""
    loading = {"bundle": str(bundle), "cache_dir": str(cache), **how}
    pace = setting.pace(20, len(frames))
    with setting.theirs() as theirs, setting.ours() as ours:
        name = ours.call("choice", **loading)
        ours.start(source=str(VIDEO), memory=len(frames), **loading)
        theirs.start(
            model=str(WEIGHTS), video=str(VIDEO), frames=len(frames), width=WIDTH, height=HEIGHT,
            score=SCORE, iou=IOU,
        )  # fmt: skip
        faces = [answer["result"] for answer in ours.look(pace.count)]
        confident = [[b for b in boxes if b[4] > CONFIDENT] for boxes in theirs.look(pace.count)]
        rates = race({name: ours, THEIRS: theirs}, pace)
    best = overlaps(confident, faces)
    matches = sum(value >= OVERLAP for value in best)
    return BaselineRow(
        work=f"YuNet {WIDTH}x{HEIGHT}, 1080p frames",
        ours=name,
        theirs=THEIRS,
        fps=rates,
        speed=faster(rates[name], rates[THEIRS]),
        answers=f"{matches} of {len(best)} faces over {CONFIDENT} found again, IoU ≥ {OVERLAP}",
        goal=GOAL,
        worse=matches < share * len(best),
        details={"smallest_iou": min(best)},
    )
