"""Is what the readings of one object agree on better than any single reading?

Each real photograph of a car becomes a track of twelve views: from far to near, each with its own
motion blur, noise, light and error of the detector's box. The recognizer decides which of them
PP-OCRv6's small model reads, and the same readings are then judged in five ways: one by one, the
one of the best crop, the one that the model is surest of, the text that is read most often, and the
vote. Only letters and digits count. The vote should be right at least as often as any other way.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from lib.experiment import Experiment, Options, Row, main
from lib.material import ASSETS
from lib.trained import TRAINED

from edgecnn_export.pipeline import export
from edgecnn_runtime import Model, load
from edgecnn_runtime.rules.watchlist import normalize
from edgecnn_runtime.stages.model_reader import ModelReader
from edgecnn_runtime.stages.recognize import Recognizer
from edgecnn_runtime.types import Box, Detection, Frame, Observation, Pixels, Track
from edgecnn_runtime.vote import VOTERS, TrackVoter

COUNTRIES = ("eu", "us", "br")
VIEWS, TRACKS = 12, 2
FAR, NEAR = 40, 140
"""Width of the plate in the first and in the last view, in pixels."""
SIZE = 480, 270
WAYS = ("one by one", "best crop", "surest", "most frequent", "vote")


def measure(options: Options) -> Iterator[Row]:
    """One row per way to judge the same readings, the vote last."""
    tracks: list[tuple[str, Mapping[str, float]]] = []
    readings = 0
    with tempfile.TemporaryDirectory() as folder:
        network = TRAINED["PP-OCRv6_rec_small"](options.cache)
        bundle = Path(folder) / "reader.edge"
        export(network.config(out=str(bundle)))
        with load(bundle, precision="f32", cache_dir=folder) as model:
            for country, seed, (picture, box, text) in material(options.quick):
                observations = list(follow(picture, box, model, np.random.default_rng(seed)))
                readings += len(observations)
                tracks.append((country, shares(observations, normalize(text))))
    best = 0.0
    for way in WAYS:
        value = float(np.mean([share.get(way, 0.0) for _, share in tracks]))
        yield {
            "what": way,
            "value": value,
            "goal": best if way == "vote" else 0.0,
            "by_country": {
                country: float(np.mean([s.get(way, 0.0) for c, s in tracks if c == country]))
                for country in COUNTRIES
            },
            "tracks": len(tracks),
            "readings": readings / len(tracks),
        }
        best = max(best, value)


def material(quick: bool) -> Iterator[tuple[str, int, tuple[Pixels, Box, str]]]:
    """Country, seed and labeled photograph of every track; each photograph is several tracks."""
    for country in COUNTRIES:
        photographs = labeled(ASSETS / "plates" / "scenes" / country)
        for number, photograph in enumerate(photographs[: 2 if quick else None]):
            for seed in range(1 if quick else TRACKS):
                yield country, 1000 * seed + number, photograph


def follow(
    picture: Pixels, box: Box, model: Model, rng: np.random.Generator
) -> Iterator[Observation]:
    """What the recognizer observes of one plate on its way to the camera."""
    recognizer = Recognizer(ModelReader(model), margin=0.05)
    for index, width in enumerate(np.geomspace(FAR, NEAR, VIEWS)):
        pixels, seen = view(picture, box, float(width), rng)
        frame = Frame(pixels, index, index / 5, None, "photograph")
        detection = Detection(seen, 0.9, "plate", 0)
        track = Track(1, "confirmed", detection, seen, (0.0, 0.0), 0.0, frame.captured, index + 1)
        yield from recognizer(frame, [track])


def view(picture: Pixels, box: Box, width: float, rng: np.random.Generator) -> tuple[Pixels, Box]:
    """The plate at a width, as a camera would have it; and the box that a detector would give."""
    scale = width / (box.x2 - box.x1)
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    shift = np.array(SIZE) / 2 - scale * np.array((x, y))
    small = cv2.GaussianBlur(picture, (0, 0), max(0.01, 0.4 / scale)) if scale < 0.7 else picture
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    pixels = cv2.warpAffine(small, matrix, SIZE, flags=cv2.INTER_LINEAR)
    length = int(rng.integers(1, 2 + int(width / 16)))
    kernel = np.zeros((length, length), np.float32)
    cv2.line(kernel, (0, int(rng.integers(length))), (length - 1, int(rng.integers(length))), 1.0)
    pixels = cv2.filter2D(pixels, -1, kernel / kernel.sum())
    light, noise = rng.uniform(0.3, 1.2), rng.normal(0, rng.uniform(2, 10), pixels.shape)
    pixels = np.clip(pixels * light + noise, 0, 255).astype(np.uint8)
    w, h = width, scale * (box.y2 - box.y1)
    corners = np.array((SIZE[0] - w, SIZE[1] - h, SIZE[0] + w, SIZE[1] + h)) / 2
    corners += rng.normal(0, 0.04, 4) * (w, h, w, h)
    return pixels, Box(*map(float, corners))


def shares(observations: Sequence[Observation], text: str) -> Mapping[str, float]:
    """How often each way of reading the observations gives the text, 0..1."""
    voter = TrackVoter(VOTERS["text"], score=0.0)
    for observation in observations:
        voter.add(observation)
    if not observations:
        return {}
    last = observations[-1]
    track = Track(1, "ended", Detection(last.box, 0.9, "", 0), last.box, (0.0, 0.0), 0.0, 0.0, 1)
    decision = voter.close(track)
    texts = [normalize(observation.result.text) for observation in observations]
    best = max(observations, key=lambda observation: observation.quality)
    surest = max(observations, key=lambda observation: observation.result.score)
    return {
        "one by one": texts.count(text) / len(texts),
        "best crop": normalize(best.result.text) == text,
        "surest": normalize(surest.result.text) == text,
        "most frequent": Counter(texts).most_common(1)[0][0] == text,
        "vote": decision is not None and normalize(decision.text) == text,
    }


def labeled(folder: Path) -> list[tuple[Pixels, Box, str]]:
    """Photographs, the box of the plate and its text."""
    rows = [line.split("\t") for line in (folder / "labels.tsv").read_text().splitlines()[1:]]
    return [
        (np.asarray(cv2.imread(str(folder / file)), np.uint8),
         Box(float(x), float(y), float(x) + float(w), float(y) + float(h)), text)
        for file, x, y, w, h, text in rows
    ]  # fmt: skip


if __name__ == "__main__":
    experiment = Experiment(
        name="voting",
        title="plates that are read right, from twelve views of each",
        measure=measure,
        reached=lambda row: bool(row["value"] >= row["goal"]),
        columns={
            "": "{what}",
            "right": "{value:.1%}",
            **{country: f"{{by_country[{country}]:.1%}}" for country in COUNTRIES},
            "tracks": "{tracks}",
            "readings of each": "{readings:.1f}",
        },
    )
    sys.exit(main(__doc__, experiment))
