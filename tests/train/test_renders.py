"""Rendered pictures agree with their truth, and the recipes that learn from them do learn."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from edgecnn.models.workshop_net import HEADS, Trunk, WorkshopNet, make_head
from edgecnn.train.renders.codes import CHARSET, LONGEST, SHORTEST, draw_code
from edgecnn.train.renders.workshop import CELL, HEIGHT, JOINTS, SCALE, WIDTH, draw_workshop
from edgecnn.train.workshop import SIZES, TEST_SEEDS, TRAIN_SEEDS, losses, mirrored, rendered


@pytest.mark.parametrize("seed", range(4))
def test_a_workshop_agrees_with_its_truth(seed: int) -> None:
    workshop = draw_workshop(seed)
    assert workshop.picture.shape == (SCALE * HEIGHT, SCALE * WIDTH, 3)
    assert np.array_equal(workshop.picture, draw_workshop(seed).picture)
    assert workshop.things
    for thing in workshop.things:
        rows, columns = np.nonzero(thing.mask)
        x1, y1, x2, y2 = thing.box
        assert CELL * columns.min() <= x1 < x2 <= CELL * (columns.max() + 1)
        assert CELL * rows.min() <= y1 < y2 <= CELL * (rows.max() + 1)
        label = 3 if thing.kind == 0 else 4
        assert (workshop.surfaces[thing.mask > 0.99] == label).all()
        if thing.kind:
            x, y, *_ = thing.turned
            assert x1 - 1 <= x <= x2 + 1
            assert y1 - 1 <= y <= y2 + 1
            continue
        assert len(thing.joints) == len(JOINTS)
        for x, y, visible in thing.joints:
            assert not visible or (x1 - 3 <= x <= x2 + 3 and y1 - 3 <= y <= y2 + 3)


def test_a_mirror_of_a_mirror_is_the_thing_itself() -> None:
    for thing in draw_workshop(1).things:
        once, twice = mirrored(thing), mirrored(mirrored(thing))
        assert twice.box == pytest.approx(thing.box)
        assert twice.turned == pytest.approx(thing.turned)
        assert np.allclose(twice.joints, thing.joints, atol=1e-4)
        assert np.array_equal(twice.mask, thing.mask)
        assert not np.array_equal(once.mask, thing.mask)
        if thing.kind == 0:  # left stays left, as it is seen
            assert (once.joints[8, 0] < once.joints[10, 0]) == (
                thing.joints[8, 0] < thing.joints[10, 0]
            )


def test_a_code_has_the_characters_that_the_reader_knows() -> None:
    for seed in range(10):
        code = draw_code(seed)
        assert SHORTEST <= len(code.text) <= LONGEST
        assert set(code.text) <= set(CHARSET)
        assert code.picture.std() > 15
    assert draw_code(1).text != draw_code(2).text


def test_all_heads_learn_from_a_few_pictures() -> None:
    torch.manual_seed(0)
    trunk = Trunk()
    heads = nn.ModuleDict({task: make_head(task, **SIZES[task]) for task in HEADS})
    optimizer = torch.optim.AdamW([*trunk.parameters(), *heads.parameters()], 3e-3)
    batch = rendered(range(2))
    first = losses(trunk, heads, batch)
    for _ in range(25):
        optimizer.zero_grad()
        sum(losses(trunk, heads, batch).values()).backward()
        optimizer.step()
    last = losses(trunk, heads, batch)
    assert set(first) == set(HEADS)
    for task in HEADS:
        assert last[task] < 0.7 * first[task], task


@pytest.mark.parametrize("task", list(HEADS))
def test_outputs_have_the_shapes_that_are_documented(task: str) -> None:
    network = WorkshopNet(task, **SIZES[task]).eval()
    with torch.inference_mode():
        outputs = network(torch.zeros(2, 3, 64, 96))
    shapes = [tuple(each.shape) for each in (outputs if isinstance(outputs, tuple) else [outputs])]
    assert (
        shapes
        == {
            "detect": [(2, 7, 96)],
            "pose": [(2, 5 + 3 * len(JOINTS), 96)],
            "obb": [(2, 7, 96)],
            "segment": [(2, 15, 96), (2, 8, 16, 24)],
            "surfaces": [(2, 5, 16, 24)],
        }[task]
    )


def test_the_recipe_is_tested_on_other_pictures() -> None:
    assert not set(TRAIN_SEEDS) & set(TEST_SEEDS)
