"""The README's picture and plot, from the files of ``make demo`` in out/.

python -m edgecnn.demo.poster out docs/images

writes demo.jpg and demo-timeline.svg there.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from edgecnn.demo.report import THUMBNAIL, still, timeline, window
from edgecnn.demo.scene import WIDTH, Scene
from edgecnn.demo.score import DigitScore, compare, is_right, read_events, vote
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.text import TextRenderer
from edgecnn_runtime.types import Pixels

PAPER, GREEN, RED = (32, 27, 24), (150, 205, 80), (96, 96, 240)
CAPTION = 30
QUALITY = 88
STYLE = (
    "text{fill:#6a727b;font:12px system-ui,sans-serif}line,.grid,.axis{stroke:#8884}"
    ".seen{fill:#2b6cb8}.seen.none{fill:#8886}"
    ".truth{fill:none;stroke:#0f8a6c;stroke-width:1.5}.truth.missed{stroke:#c01f2e;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#97a1ab}.seen{fill:#6aa9f0}.truth{stroke:#45c8a0}}"
)
"""The report's colors, for a drawing that stands alone in light and in dark."""


def main() -> None:
    """Draw and write both."""
    parser = argparse.ArgumentParser(prog="python -m edgecnn.demo.poster", description=__doc__)
    parser.add_argument("out", type=Path, help="the folder that the demo wrote to")
    parser.add_argument("images", type=Path, help="the folder to write into")
    args = parser.parse_args()
    truth = json.loads((args.out / "truth.json").read_text())
    scene = Scene(truth["seed"], len(truth["tiles"]))
    looks = read_events(args.out / "events.jsonl")
    score = compare(vote(looks), scene.tiles)
    poster = draw(scene, score, args.out / "annotated.mp4")
    if not cv2.imwrite(str(args.images / "demo.jpg"), poster, [cv2.IMWRITE_JPEG_QUALITY, QUALITY]):
        raise EdgecnnError(f"cannot write into {args.images}")
    drawing = str(timeline(looks, score, scene.length))
    drawing = drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    drawing = drawing.replace(">", f"><style>{STYLE}</style>", 1)
    (args.images / "demo-timeline.svg").write_text(drawing + "\n", "utf-8")


def draw(scene: Scene, score: DigitScore, annotated: Path) -> Pixels:
    """An annotated frame above a strip of ten digits with their readings, uint8[H,WIDTH,3]."""
    count = WIDTH // THUMBNAIL
    pairs = score.pairs[:count]
    strip = np.full((THUMBNAIL + CAPTION, WIDTH, 3), PAPER, np.uint8)
    letters = TextRenderer()
    for number, (tile, reading) in enumerate(pairs):
        left = number * THUMBNAIL
        strip[:THUMBNAIL, left : left + THUMBNAIL] = window(scene, tile)
        words = reading.label if reading else "–"
        at = (left + (THUMBNAIL - letters.width(words, 20, bold=True)) // 2, THUMBNAIL + 22)
        color = GREEN if is_right(tile, reading) else RED
        letters.put(strip, words, at, 20, color, bold=True)
    return np.vstack([still(annotated, pairs[count // 2][0].frame), strip])


if __name__ == "__main__":
    main()
