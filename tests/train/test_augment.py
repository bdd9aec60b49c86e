import torch
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.train.augment import SHIFT, augment

KINDS = ("rotate", "flip", "scale", "shift")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_changes_nothing() -> None:
    batch = torch.rand(4, 1, 9, 9)
    assert augment(batch, (), generator()) is batch


def test_a_flip_is_the_picture_or_its_mirror_image() -> None:
    batch = torch.rand(64, 2, 8, 8)
    out = augment(batch, ("flip",), generator())
    same = torch.isclose(out, batch, atol=1e-5).flatten(1).all(dim=1)
    mirrored = torch.isclose(out, batch.flip(3), atol=1e-5).flatten(1).all(dim=1)
    assert (same | mirrored).all()
    assert 10 < mirrored.sum() < 54


def test_a_shift_stays_within_its_limit() -> None:
    batch = torch.zeros(200, 1, 41, 41)
    batch[:, :, 20, 20] = 1
    out = augment(batch, ("shift",), generator())
    weights = out / out.sum(dim=(2, 3), keepdim=True)
    ramp = torch.arange(41.0)
    x = (weights.sum(dim=2) * ramp).sum(dim=2) - 20
    y = (weights.sum(dim=3) * ramp).sum(dim=2) - 20
    limit = SHIFT * 41
    assert max(x.abs().max(), y.abs().max()) <= limit + 1e-3
    assert min(x.max(), -x.min(), y.max(), -y.min()) > 0.8 * limit


def test_a_turn_keeps_the_middle_and_moves_the_rim() -> None:
    batch = torch.zeros(50, 1, 41, 41)
    batch[:, :, 20, 20] = 1
    batch[:, :, 20, 38] = 0.5
    out = augment(batch, ("rotate",), generator())
    assert torch.allclose(out[:, 0, 20, 20], torch.ones(50), atol=1e-4)
    assert (out[:, 0, 20, 38] < 0.4).float().mean() > 0.5


@given(st.sets(st.sampled_from(KINDS), min_size=1), st.integers(0, 2**31))
def test_it_invents_no_values_and_repeats_itself(kinds: set[str], seed: int) -> None:
    batch = torch.rand(3, 3, 12, 12, generator=generator(seed)) * 255
    once = augment(batch, kinds, generator(seed))
    assert once.shape == batch.shape
    assert once.min() >= batch.min() - 1e-3
    assert once.max() <= batch.max() + 1e-3
    assert torch.equal(once, augment(batch, kinds, generator(seed)))
