"""Makes workshop-*.pt: rendered workshops → one trunk, and a head for each task, trained together.

python -m edgecnn.train.workshop edgecnn/demo

A few minutes on one core. No picture of the demo has one of these seeds.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from edgecnn.models.workshop_net import (
    HEADS,
    STRIDE,
    UNIT,
    SegmentHead,
    Table,
    Trunk,
    make_head,
)
from edgecnn.train.renders.workshop import (
    CELL,
    HEIGHT,
    JOINTS,
    KINDS,
    SKELETON,
    SURFACES,
    WIDTH,
    Thing,
    draw_workshop,
)
from edgecnn_export.checkpoint import save_checkpoint
from edgecnn_runtime.types import Pixels

TRAIN_SEEDS, TEST_SEEDS = range(10_000, 10_400), range(20_000, 20_024)
STEPS, BATCH, RATE = 1600, 8, 4e-3
REACH = 8.0
"""Cells whose middle is as near to an object's in x and in y learn to find it."""
COLUMNS, ROWS = WIDTH // STRIDE, HEIGHT // STRIDE
MIRRORED = (0, 1, 4, 5, 2, 3, 6, 9, 10, 7, 8)
"""The joint that each one is in a mirror."""
SPEC: dict[str, Any] = {
    "input": f"{WIDTH}x{HEIGHT}", "color": "bgr", "preset": "unit", "resize": "stretch",
}  # fmt: skip
SIZES: dict[str, dict[str, int]] = {
    "detect": {"classes": len(KINDS)},
    "pose": {"classes": 1, "points": len(JOINTS)},
    "obb": {"classes": len(KINDS) - 1},
    "segment": {"classes": len(KINDS)},
    "surfaces": {"classes": len(SURFACES)},
}
SPECS: dict[str, dict[str, Any]] = {
    "detect": {"task": "detect", "head": "yolov8", "labels": KINDS},
    "pose": {
        "task": "pose",
        "labels": ("person",),
        "decode": {
            "layout": "v8",
            "points": len(JOINTS),
            "point_dims": 3,
            "skeleton": [list(pair) for pair in SKELETON],
        },
    },
    "obb": {"task": "obb", "labels": KINDS[1:], "decode": {"layout": "v8"}},
    "segment": {"task": "segment", "head": "yolov8-seg", "labels": KINDS},
    "surfaces": {"task": "segment", "head": "semantic", "labels": SURFACES},
}


@dataclass(frozen=True, slots=True)
class Example:
    """A picture at the input's size, what is in it, and the class of each cell of its map."""

    pixels: Pixels
    things: tuple[Thing, ...]
    surfaces: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a batch that a head looks for, one row per object and cell that finds it.

    Attributes:
        item: int64[K], the picture of each row.
        cell: int64[K], the cell.
        middle: float32[K,2], the cell's middle in input pixels.
        kind: int64[K], the class.
        things: What the rows belong to.
    """

    item: Tensor
    cell: Tensor
    middle: Tensor
    kind: Tensor
    things: list[Thing]


def main() -> None:
    """Render, train, save a checkpoint for each task, and print the losses on other pictures."""
    parser = argparse.ArgumentParser(prog="python -m edgecnn.train.workshop", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write the checkpoints into")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"default: {STEPS}")
    args = parser.parse_args()
    console = Console(stderr=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    train = rendered(track(TRAIN_SEEDS, "rendering", console=console, transient=True))
    test = rendered(TEST_SEEDS)
    trunk, heads = Trunk(), nn.ModuleDict({task: make_head(task, **SIZES[task]) for task in HEADS})
    optimizer = torch.optim.AdamW([*trunk.parameters(), *heads.parameters()], RATE)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, args.steps, pct_start=0.1)
    random = np.random.default_rng(0)
    for step in track(range(args.steps), "training", console=console, transient=True):
        chosen = random.choice(len(train), BATCH, replace=False)
        batch = [_varied(train[number], random) for number in chosen]
        total = sum(losses(trunk, heads, batch).values(), torch.zeros(()))
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call] # torch does not say what it takes
        nn.utils.clip_grad_norm_([*trunk.parameters(), *heads.parameters()], 5.0)
        optimizer.step()
        rate.step()
        if step % 200 == 0 or step == args.steps - 1:
            print(step, _tell(trunk, heads, test), flush=True)
    for task in HEADS:
        state = {f"trunk.{name}": value for name, value in trunk.state_dict().items()}
        state |= {f"head.{name}": v for name, v in heads[task].state_dict().items()}
        save_checkpoint(
            args.out / f"workshop-{task}.pt",
            state,
            arch="edgecnn.models.workshop_net:WorkshopNet",
            arch_args={"task": task, **SIZES[task]},
            spec={**SPEC, **SPECS[task]},
        )


def rendered(seeds: Iterable[int]) -> list[Example]:
    """The workshops of these seeds, as the networks get them."""
    workshops = [draw_workshop(seed) for seed in seeds]
    return [Example(_shrunk(each.picture), each.things, each.surfaces) for each in workshops]


def losses(trunk: Trunk, heads: nn.ModuleDict, batch: list[Example]) -> dict[str, Tensor]:
    """What each head still gets wrong."""
    pixels = np.stack([example.pixels for example in batch]).transpose(0, 3, 1, 2)
    masker = heads["segment"]
    assert isinstance(masker, SegmentHead)
    with torch.autocast("cpu", torch.bfloat16):  # twice as fast here, and as good
        fine, cells = trunk(torch.from_numpy(pixels).float() / 255)
        raws = {task: head(fine, cells).float() for task, head in heads.items()}
        maps = masker.maps(fine).float()
    errors: dict[str, Tensor] = {}
    everything = _objects(batch, (0, 1, 2))
    for task, kinds in (("detect", (0, 1, 2)), ("pose", (0,)), ("obb", (1, 2)), ("segment", None)):
        head, raw = heads[task], raws[task]
        assert isinstance(head, Table)
        objects = _objects(batch, kinds) if kinds else everything
        errors[task] = _box_loss(head, raw, objects, turned=task == "obb")
        rest = raw.flatten(2)[objects.item, 4 + head.classes :, objects.cell]
        if task == "pose":
            errors[task] = errors[task] + _joint_loss(rest, objects)
        elif task == "obb":
            errors[task] = errors[task] + _angle_loss(rest, objects)
        elif task == "segment":
            errors[task] = errors[task] + _mask_loss(rest, maps, objects)
    surfaces = torch.from_numpy(np.stack([example.surfaces for example in batch])).long()
    errors["surfaces"] = F.cross_entropy(raws["surfaces"], surfaces)
    return errors


def _objects(batch: list[Example], kinds: tuple[int, ...]) -> Objects:
    rows = []
    for item, example in enumerate(batch):
        for thing in example.things:
            if thing.kind not in kinds:
                continue
            x, y = _center(thing)
            near = [
                (i, j)
                for j in range(ROWS)
                for i in range(COLUMNS)
                if abs((i + 0.5) * STRIDE - x) < REACH and abs((j + 0.5) * STRIDE - y) < REACH
            ]
            rows += [(item, i, j, thing) for i, j in near]
    return Objects(
        item=torch.tensor([item for item, *_ in rows], dtype=torch.long),
        cell=torch.tensor([j * COLUMNS + i for _, i, j, _ in rows], dtype=torch.long),
        middle=torch.tensor([[(i + 0.5) * STRIDE, (j + 0.5) * STRIDE] for _, i, j, _ in rows]),
        kind=torch.tensor([t.kind - min(kinds) for *_, t in rows], dtype=torch.long),
        things=[thing for *_, thing in rows],
    )


def _center(thing: Thing) -> tuple[float, float]:
    x1, y1, x2, y2 = thing.box
    return (x1 + x2) / 2, (y1 + y2) / 2


def _box_loss(head: Table, raw: Tensor, objects: Objects, *, turned: bool) -> Tensor:
    """Focal loss of the classes (Lin et al., 2017), and the error of the boxes that are there."""
    flat = raw.flatten(2)
    logits = flat[:, 4 : 4 + head.classes]
    target = torch.zeros_like(logits)
    target[objects.item, objects.kind, objects.cell] = 1.0
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    gap = (target - torch.sigmoid(logits)).abs() ** 2
    boxes = np.array([_box(thing, turned=turned) for thing in objects.things], np.float32)
    truth = torch.from_numpy(boxes)
    places = (truth[:, :2] - objects.middle) / STRIDE
    numbers = torch.cat([places, torch.log(truth[:, 2:] / UNIT)], 1)
    error = F.smooth_l1_loss(flat[objects.item, :4, objects.cell], numbers, beta=0.1)
    return (gap * entropy).sum() / len(objects.things) + 4 * error


def _box(thing: Thing, *, turned: bool) -> tuple[float, float, float, float]:
    if turned:
        return thing.turned[:4]
    x1, y1, x2, y2 = thing.box
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def _joint_loss(rest: Tensor, objects: Objects) -> Tensor:
    truth = torch.from_numpy(np.stack([thing.joints for thing in objects.things]))
    joints = rest.reshape(-1, len(JOINTS), 3)
    places = (truth[..., :2] - objects.middle[:, None]) / UNIT
    visible = truth[..., 2]
    error = F.smooth_l1_loss(joints[..., :2], places, beta=0.05, reduction="none").sum(2)
    doubt = F.binary_cross_entropy_with_logits(joints[..., 2], visible)
    return 6 * (error * visible).sum() / visible.sum() + 0.2 * doubt


def _angle_loss(rest: Tensor, objects: Objects) -> Tensor:
    angles = torch.tensor([2 * thing.turned[4] for thing in objects.things])
    return 3 * F.smooth_l1_loss(rest, torch.stack([angles.sin(), angles.cos()], 1), beta=0.1)


def _mask_loss(rest: Tensor, maps: Tensor, objects: Objects) -> Tensor:
    """Cross-entropy of the cells inside each object's box."""
    masks = torch.from_numpy(np.stack([thing.mask for thing in objects.things]))
    inside = torch.zeros_like(masks)
    for row, thing in enumerate(objects.things):
        x1, y1, x2, y2 = (value / CELL for value in thing.box)
        inside[row, int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = 1.0
    inside /= inside.sum((1, 2), keepdim=True)
    logits = torch.einsum("km,kmhw->khw", rest, maps[objects.item])
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    return 3 * (entropy * inside).sum((1, 2)).mean()


def _varied(example: Example, random: np.random.Generator) -> Example:
    """In other light, and every other time in a mirror."""
    light = example.pixels * random.uniform(0.8, 1.2) + random.uniform(-15, 15)
    pixels = np.clip(light, 0, 255).astype(np.uint8)
    if random.random() < 0.5:
        return Example(pixels, example.things, example.surfaces)
    things = tuple(mirrored(thing) for thing in example.things)
    return Example(pixels[:, ::-1], things, example.surfaces[:, ::-1])


def mirrored(thing: Thing) -> Thing:
    """The thing in a picture that is flipped, in which left and right change places."""
    x1, y1, x2, y2 = thing.box
    cx, cy, length, breadth, angle = thing.turned
    joints = thing.joints[list(MIRRORED)] if len(thing.joints) else thing.joints
    joints = joints * np.array([-1, 1, 1], np.float32) + np.array([WIDTH, 0, 0], np.float32)
    turned = (WIDTH - cx, cy, length, breadth, -angle)
    mask = np.ascontiguousarray(thing.mask[:, ::-1])
    return Thing(thing.kind, (WIDTH - x2, y1, WIDTH - x1, y2), turned, joints, mask)


def _shrunk(picture: Pixels) -> Pixels:
    """As the runtime fits a frame into the input."""
    small = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return np.asarray(small, np.uint8)


def _tell(trunk: Trunk, heads: nn.ModuleDict, test: list[Example]) -> str:
    trunk.eval()
    heads.eval()
    with torch.inference_mode():
        now = losses(trunk, heads, test)
    trunk.train()
    heads.train()
    return "  ".join(f"{task} {loss.item():.3f}" for task, loss in now.items())


if __name__ == "__main__":
    main()
