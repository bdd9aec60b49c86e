"""OpenCV's FaceDetectorYN against a YuNet bundle: the same weights, the same 1080p frames.

Both get decoded frames from memory, find faces at 640x352 and give boxes in frame pixels, on all
cores. Reached: every face that OpenCV scores over 0.8 is found again with IoU ≥ 0.9, at 2.5 times
its rate.
"""

from lib.material import ASSETS, HEIGHT, IOU, SCORE, WIDTH, export_yunet, video_frames
from runner.boxes import overlaps
from runner.race import faster, race
from runner.rows import BaselineRow
from runner.setting import Setting

VIDEO = ASSETS / "faces" / "video.mp4"
WEIGHTS = ASSETS / "yunet" / "yunet_n_640_640.onnx"
"""OpenCV 4 reads only the file of fixed size, and then takes any."""
CONFIDENT, OVERLAP, GOAL = 0.8, 0.9, 2.5
THEIRS = "FaceDetectorYN"


def compare(setting: Setting) -> list[BaselineRow]:
    """Float on both sides."""
    frames = video_frames()
    bundle = export_yunet(setting.folder, frames)
    loading = {"bundle": str(bundle), "precision": "f32", "cache_dir": str(setting.folder)}
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
    row = BaselineRow(
        work=f"YuNet {WIDTH}x{HEIGHT}, 1080p frames",
        ours=name,
        theirs=THEIRS,
        fps=rates,
        speed=faster(rates[name], rates[THEIRS]),
        answers=f"{matches} of {len(best)} faces over {CONFIDENT} found again, IoU ≥ {OVERLAP}",
        goal=GOAL,
        worse=matches < len(best),
        details={"smallest_iou": min(best)},
    )
    return [row]
