"""facenet-pytorch's MTCNN against a YuNet bundle: two networks for one job, finding faces.

The networks differ, so the ratio says what a face costs with either, not how well the same work is
done. Same 1080p frames from memory, all cores. MTCNN once on its defaults, which look at the whole
frame, and once on frames shrunk to the 640x352 that YuNet sees.
"""

from lib.material import ASSETS, HEIGHT, WIDTH, export_yunet, video_frames
from runner.boxes import matched_boxes
from runner.race import faster, race
from runner.rows import BaselineRow
from runner.setting import Setting

VIDEO = ASSETS / "faces" / "video.mp4"
SHRUNK, WHOLE = "MTCNN on 640x352", "MTCNN on 1920x1080"


def compare(setting: Setting) -> list[BaselineRow]:
    """Float on both sides."""
    frames = video_frames()
    bundle = export_yunet(setting.folder, frames)
    loading = {"bundle": str(bundle), "precision": "f32", "cache_dir": str(setting.folder)}
    pace = setting.pace(8, 6)
    with setting.ours() as ours, setting.theirs() as shrunk, setting.theirs() as whole:
        name = ours.call("choice", **loading)
        ours.start(source=str(VIDEO), memory=len(frames), **loading)
        shrunk.start(video=str(VIDEO), frames=len(frames), width=WIDTH, height=HEIGHT)
        whole.start(video=str(VIDEO), frames=len(frames))
        workers = {name: ours, SHRUNK: shrunk, WHOLE: whole}
        answers = {key: worker.look(pace.count) for key, worker in workers.items()}
        rates = race(workers, pace)
    faces = [answer["result"] for answer in answers[name]]
    return [
        BaselineRow(
            work="faces in 1080p frames",
            ours=name,
            theirs=key,
            fps={name: rates[name], key: rates[key]},
            speed=faster(rates[name], rates[key]),
            answers=f"{matched_boxes(answers[key], faces)}; ours finds {sum(map(len, faces))}",
        )
        for key in (SHRUNK, WHOLE)
    ]
