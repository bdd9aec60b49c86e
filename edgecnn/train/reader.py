"""Makes reader.pt: rendered codes → a small convolutional reader, trained with CTC.

python -m edgecnn.train.reader edgecnn/demo/reader.pt

A minute or two on one core. No code of the demo has one of these seeds.
"""

import argparse
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from edgecnn.models.code_reader import CodeReader
from edgecnn.train.renders.codes import CHARSET, HEIGHT, WIDTH, draw_code
from edgecnn_export.checkpoint import save_checkpoint
from edgecnn_runtime.types import Pixels

TRAIN_SEEDS, TEST_SEEDS = range(10_000, 12_000), range(20_000, 20_200)
STEPS, BATCH, RATE = 1000, 32, 4e-3
FEW = 16
"""Samples in the checkpoint."""


def main() -> None:
    """Render, train, save, and print how many of other codes are read to the last character."""
    parser = argparse.ArgumentParser(prog="python -m edgecnn.train.reader", description=__doc__)
    parser.add_argument("out", type=Path, help="checkpoint to write")
    args = parser.parse_args()
    console = Console(stderr=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pictures, texts = rendered(track(TRAIN_SEEDS, "rendering", console=console, transient=True))
    others, truths = rendered(TEST_SEEDS)
    network = CodeReader(len(CHARSET) + 1)
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.1)
    random = np.random.default_rng(0)
    for step in track(range(STEPS), "training", console=console, transient=True):
        chosen = random.choice(len(pictures), BATCH, replace=False)
        loss = _loss(network(_gray(pictures[chosen])), [texts[number] for number in chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch does not say what it takes
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        rate.step()
        if step % 200 == 0 or step == STEPS - 1:
            print(f"{step}  {loss.item():.3f}  {_right(network, others, truths):.1%}", flush=True)
    save_checkpoint(
        args.out,
        network,
        arch="edgecnn.models.code_reader:CodeReader",
        arch_args={"classes": len(CHARSET) + 1},
        spec={
            "task": "ocr",
            "input": f"{WIDTH}x{HEIGHT}",
            "color": "gray",
            "preset": "unit",
            "resize": "stretch",
            "labels": tuple(CHARSET),
        },
        samples=others[:FEW],
    )


def rendered(seeds: Iterable[int]) -> tuple[Pixels, list[str]]:
    """uint8[N,HEIGHT,WIDTH,3] as the reader gets them, and their texts."""
    codes = [draw_code(seed) for seed in seeds]
    small = [cv2.resize(c.picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for c in codes]
    return np.stack(small).astype(np.uint8), [code.text for code in codes]


def _gray(pictures: Pixels) -> Tensor:
    """float32[N,1,h,w], 0..1, with the weights that the exported graph has."""
    gray = pictures.astype(np.float32) @ np.array([0.114, 0.587, 0.299], np.float32)
    return torch.from_numpy(gray[:, None] / 255)


def _loss(logits: Tensor, texts: list[str]) -> Tensor:
    targets = torch.tensor([1 + CHARSET.index(letter) for text in texts for letter in text])
    steps = torch.full((len(texts),), logits.shape[1])
    lengths = torch.tensor([len(text) for text in texts])
    likely = logits.log_softmax(2).permute(1, 0, 2)
    return F.ctc_loss(likely, targets, steps, lengths)


def _right(network: CodeReader, pictures: Pixels, texts: list[str]) -> float:
    network.eval()
    with torch.inference_mode():
        best = network(_gray(pictures)).argmax(2).tolist()
    network.train()
    read = ["".join(CHARSET[k - 1] for k, _ in groupby(steps) if k) for steps in best]
    return sum(map(str.__eq__, read, texts)) / len(texts)


if __name__ == "__main__":
    main()
