from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgecnn.models.mnist_cnn3 import MnistCnn3
from edgecnn.models.mnist_net import MnistNet
from edgecnn.train.pretrained import load_pretrained
from edgecnn_export.checkpoint import save_checkpoint
from edgecnn_runtime.errors import CheckpointError, EdgecnnError, UsageError


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, MnistCnn3]:
    torch.manual_seed(1)
    model = MnistCnn3()
    path = tmp_path / "given.pt"
    save_checkpoint(path, model, arch="edgecnn.models.mnist_cnn3:MnistCnn3")
    return path, model


def test_what_fits_is_taken_and_the_rest_stays_fresh(given: tuple[Path, MnistCnn3]) -> None:
    path, source = given
    model = MnistCnn3(classes=4)
    head = model.fc2.weight.clone()
    started = load_pretrained(model, str(path), ())
    assert started.new == ("fc2.weight", "fc2.bias")
    assert len(started.matching) == 8
    assert torch.equal(model.conv2.weight, source.conv2.weight)
    assert torch.equal(model.fc2.weight, head)


@pytest.mark.parametrize("form", ["state dict", "safetensors"])
def test_bare_weights_are_taken_too(tmp_path: Path, form: str) -> None:
    source, path = MnistNet(), tmp_path / "weights"
    if form == "safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save(source.state_dict(), path)
    model = MnistNet()
    assert load_pretrained(model, str(path), ()).new == ()
    assert torch.equal(model.fc1.weight, source.fc1.weight)


def test_nothing_that_fits_is_an_error_that_shows_both_sides(
    given: tuple[Path, MnistCnn3],
) -> None:
    with pytest.raises(CheckpointError, match=r"conv1.weight \[32, 1, 3, 3\]") as caught:
        load_pretrained(MnistNet(classes=4), str(given[0]), ())
    assert "conv1.weight [10, 1, 5, 5]" in str(caught.value)


def test_a_pickle_with_code_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    trace = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object]]:
            return Path.touch, (trace,)

    path = tmp_path / "evil.pt"
    torch.save({"conv1.weight": Evil()}, path)
    with pytest.raises(CheckpointError, match="more than tensors"):
        load_pretrained(MnistNet(), str(path), ())
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04truncated"])
def test_damaged_files_are_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(EdgecnnError, match=r"bad\.pt"):
        load_pretrained(MnistNet(), str(path), ())
    with pytest.raises(UsageError, match="no such file"):
        load_pretrained(MnistNet(), str(tmp_path / "absent.pt"), ())


def test_frozen_weights_do_not_ask_for_gradients(given: tuple[Path, MnistCnn3]) -> None:
    model = MnistCnn3()
    started = load_pretrained(model, str(given[0]), ("conv1", "conv2."))
    assert started.frozen == ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias")
    asking = {name for name, value in model.named_parameters() if value.requires_grad}
    assert not asking & set(started.frozen)
    assert "conv3.weight" in asking


def test_a_prefix_that_holds_nothing_or_everything_is_an_error(
    given: tuple[Path, MnistCnn3],
) -> None:
    with pytest.raises(UsageError, match=r"--freeze layer1.*conv1.weight"):
        load_pretrained(MnistCnn3(), "", ("layer1",))
    with pytest.raises(UsageError, match="nothing is left"):
        load_pretrained(MnistCnn3(), str(given[0]), ("conv", "fc"))


def test_random_weights_are_not_frozen(given: tuple[Path, MnistCnn3]) -> None:
    """Neither where no file is given, nor where the file has them in another shape."""
    with pytest.raises(UsageError, match=r"conv1\.weight.* random values; .*--init-from"):
        load_pretrained(MnistCnn3(), "", ("conv1",))
    with pytest.raises(UsageError, match=r"fc2\.weight, fc2\.bias would stay at random values"):
        load_pretrained(MnistCnn3(classes=4), str(given[0]), ("conv1", "fc2"))


def test_a_set_of_weights_of_a_training_is_named(tmp_path: Path) -> None:
    first, second, model = MnistNet(), MnistNet(), MnistNet()
    content = {"model": first.state_dict(), "ema": {"module": second.state_dict()}}
    torch.save(content, tmp_path / "run.ckpt")
    with pytest.raises(CheckpointError, match=r"--weights-key model or --weights-key ema\.module"):
        load_pretrained(model, str(tmp_path / "run.ckpt"), ())
    load_pretrained(model, str(tmp_path / "run.ckpt"), ("conv1",), "ema")
    assert torch.equal(model.conv1.weight, second.conv1.weight)
