from pathlib import Path

import numpy as np
import pytest
import torch

from edgecnn.train.config import TrainConfig
from edgecnn.train.loop import Epoch, normalizer, outputs_of
from edgecnn.train.trainer import TrainResult, train
from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.load import load_model
from edgecnn_runtime.errors import EdgecnnError, UsageError


class Quiet:
    """Watches without a word; ``stop_after`` presses Ctrl-C in the epoch after that one."""

    def __init__(self, stop_after: int = 0) -> None:
        self.stop_after = stop_after
        self.epochs: list[Epoch] = []
        self.steps = 0

    def reading(self, done: int, total: int) -> None:
        assert 0 < done <= total

    def step(self, epoch: int, done: int, total: int, loss: float) -> None:
        self.steps += 1
        if self.stop_after and epoch > self.stop_after:
            raise KeyboardInterrupt

    def epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)


def run(data: Path, out: Path, watch: Quiet | None = None, **settings: object) -> TrainResult:
    settings = {"model": "mnist_cnn3", "epochs": 2} | settings
    return train(TrainConfig(data=str(data), out=str(out), **settings), watch or Quiet())


def weights(trained: TrainResult) -> dict[str, torch.Tensor]:
    return torch.load(trained.checkpoint, weights_only=True)["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns(digits: Path, tmp_path: Path) -> None:
    watch = Quiet()
    trained = run(digits, tmp_path / "a.pt", watch, epochs=8, batch=32)
    assert trained.metrics.accuracy > 0.7  # chance is 0.1
    assert watch.epochs[-1].loss < 0.5 * watch.epochs[0].loss
    assert trained.metrics.confusion.sum() == 200
    assert watch.steps == 8 * 17


def test_the_same_seed_gives_the_same_weights(digits: Path, tmp_path: Path) -> None:
    settings = {"epochs": 1, "augment": ("rotate", "shift")}
    first, again, other = (
        weights(run(digits, tmp_path / "a.pt", seed=seed, **settings)) for seed in (7, 7, 8)
    )
    assert same(first, again)
    assert not same(first, other)


def test_training_leaves_the_callers_random_numbers_alone(digits: Path, tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    run(digits, tmp_path / "a.pt", epochs=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("network", ["mnist_net", "mnist_cnn2", "mnist_cnn3"])
def test_the_checkpoint_says_everything_an_export_asks(
    digits: Path, tmp_path: Path, network: str
) -> None:
    trained = run(digits, tmp_path / "a.pt", model=network, epochs=1)
    loaded = load_model(ExportConfig(model=str(trained.checkpoint)))
    recipe = trained.recipe
    assert loaded.spec["task"] == "classify"
    assert loaded.spec["input"] == "28x28"
    assert loaded.spec["color"] == "gray"
    assert loaded.spec["mean"] == pytest.approx(recipe.mean)
    assert loaded.spec["std"] == pytest.approx(recipe.std)
    assert tuple(loaded.spec["labels"]) == tuple("0123456789")
    assert loaded.spec["decode"] == {"values": recipe.values}
    assert loaded.samples is not None
    assert loaded.samples.shape == (16, 28, 28, 3)
    assert loaded.module is not None
    pixels = torch.from_numpy(np.ascontiguousarray(loaded.samples[..., :1]))
    expected = trained.model(normalizer(recipe)(pixels))
    assert torch.allclose(loaded.module(normalizer(recipe)(pixels)), expected, atol=1e-5)


def test_the_samples_show_every_class(digits: Path, tmp_path: Path) -> None:
    trained = run(digits, tmp_path / "a.pt", epochs=1)
    samples = torch.load(trained.checkpoint, weights_only=True)["samples"].numpy()[..., 0]
    test = trained.data.test
    shown = {
        int(test.targets[np.flatnonzero((test.pixels[..., 0] == sample).all(axis=(1, 2)))[0]])
        for sample in samples
    }
    assert shown == set(range(10))


def test_a_binary_network_learns_from_folders(two_classes: Path, tmp_path: Path) -> None:
    trained = run(two_classes, tmp_path / "b.pt", model="binary_cnn", epochs=4, batch=8)
    assert trained.metrics.accuracy > 0.8  # chance is 0.5
    outputs = outputs_of(trained.model, trained.recipe, trained.data.test)
    assert outputs.shape == (16, 1)
    spec = torch.load(trained.checkpoint, weights_only=True)["spec"]
    assert list(spec["labels"]) == ["round", "straight"]
    assert spec["decode"] == {"values": "probabilities"}
    assert spec["color"] == "bgr"


def test_patience_stops_and_keeps_the_best_epoch(digits: Path, tmp_path: Path) -> None:
    # so high a learning rate cannot keep improving
    watch = Quiet()
    trained = run(digits, tmp_path / "a.pt", watch, epochs=60, lr=0.02, patience=2, val_split=0.3)
    history = trained.history
    losses = [epoch.val_loss for epoch in history.epochs]
    assert history.stopped == "patience"
    assert history.weights_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == history.weights_epoch + 2


def test_what_one_epoch_left_is_there_whether_interrupted_or_crashed(
    digits: Path, tmp_path: Path
) -> None:
    class Crash(Quiet):
        def step(self, epoch: int, done: int, total: int, loss: float) -> None:
            if epoch == 2:
                raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(digits, tmp_path / "crashed.pt", Crash(), epochs=5)
    left = torch.load(tmp_path / "crashed.pt", weights_only=True)["state_dict"]
    cut = run(digits, tmp_path / "cut.pt", Quiet(stop_after=1), epochs=5)
    assert (cut.history.stopped, cut.history.weights_epoch) == ("interrupted", 1)
    assert same(left, weights(cut))
    assert not same(left, weights(run(digits, tmp_path / "whole.pt", epochs=5)))


def test_interrupted_before_the_first_epoch_writes_nothing(digits: Path, tmp_path: Path) -> None:
    class Impatient(Quiet):
        def step(self, epoch: int, done: int, total: int, loss: float) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(digits, tmp_path / "a.pt", Impatient())
    assert list(tmp_path.iterdir()) == []


def test_frozen_weights_do_not_move_and_the_others_do(digits: Path, tmp_path: Path) -> None:
    first = run(digits, tmp_path / "first.pt", epochs=1)
    second = run(
        digits,
        tmp_path / "second.pt",
        epochs=1,
        init_from=str(first.checkpoint),
        freeze=("conv",),
    )
    before, after = weights(first), weights(second)
    assert len(second.pretrained.matching) == len(before)
    for name in before:
        assert torch.equal(before[name], after[name]) == name.startswith("conv"), name


def test_starting_from_trained_weights_is_a_head_start(digits: Path, tmp_path: Path) -> None:
    first = run(digits, tmp_path / "first.pt", epochs=6)
    fresh, warm = Quiet(), Quiet()
    run(digits, tmp_path / "a.pt", fresh, epochs=1)
    run(digits, tmp_path / "b.pt", warm, epochs=1, init_from=str(first.checkpoint))
    assert warm.epochs[0].loss < 0.5 * fresh.epochs[0].loss


def test_a_loss_that_explodes_is_named_and_nothing_is_written(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgecnnError, match=r"loss became (nan|inf).*--lr 1e\+2\d"):
        run(digits, tmp_path / "a.pt", model="mnist_net", lr=1e30)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_found_before_training(digits: Path, tmp_path: Path) -> None:
    watch = Quiet()
    for out in (tmp_path / "absent" / "a.pt", tmp_path):
        with pytest.raises(EdgecnnError, match="cannot write"):
            run(digits, out, watch)
    assert watch.steps == 0


def test_what_cannot_be_meant_is_said(digits: Path, two_classes: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.pt"
    with pytest.raises(UsageError, match="known: mnist_net"):
        run(digits, out, model="resnet")
    with pytest.raises(UsageError, match="has 2 classes, not 10"):
        run(digits, out, model="binary_cnn")
    with pytest.raises(UsageError, match="at least 18 pixels, not 12"):
        run(digits, out, size=12)
