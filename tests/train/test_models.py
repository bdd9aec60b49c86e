import importlib
import subprocess
import sys

import pytest
import torch

from edgecnn.models import MODELS


def make(name: str, **kwargs: int) -> torch.nn.Module:
    module, _, factory = MODELS[name].partition(":")
    return getattr(importlib.import_module(module), factory)(**kwargs)


def recipe(name: str):
    return importlib.import_module(MODELS[name].partition(":")[0]).RECIPE


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist_net", 260 + 5020 + 2000 * 50 + 50 + 510),
        ("mnist_cnn3", 320 + 18496 + 36928 + 576 * 64 + 64 + 650),
        ("mnist_cnn2", 320 + 18496 + 1600 * 128 + 128 + 1290),
        ("binary_cnn", 896 + 32 * 31 * 31 * 128 + 128 + 129),
    ],
)
def test_parameter_counts(name: str, expected: int) -> None:
    assert parameters(make(name)) == expected


def test_mnist_net_pools_once_and_so_has_2000_features() -> None:
    model = make("mnist_net")
    assert model.fc1.in_features == 2000
    with torch.inference_mode():
        out = model(torch.randn(3, 1, 28, 28))
    assert out.shape == (3, 10)
    assert torch.allclose(out.exp().sum(dim=1), torch.ones(3), atol=1e-5)


def test_binary_cnn_gives_one_probability() -> None:
    with torch.inference_mode():
        out = make("binary_cnn")(torch.randn(5, 3, 64, 64) * 4)
    assert out.shape == (5, 1)
    assert ((out > 0) & (out < 1)).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_factory_takes_channels_size_and_classes(name: str) -> None:
    classes = 2 if name == "binary_cnn" else 7
    model = make(name, channels=2, size=37, classes=classes)
    with torch.inference_mode():
        out = model(torch.randn(4, 2, 37, 37))
    assert out.shape == (4, 1 if name == "binary_cnn" else classes)


@pytest.mark.parametrize(
    ("name", "smallest"),
    [("mnist_net", 10), ("mnist_cnn3", 18), ("mnist_cnn2", 10), ("binary_cnn", 4)],
)
def test_the_smallest_size_works_and_one_less_is_refused(name: str, smallest: int) -> None:
    picture = torch.randn(1, recipe(name).channels, smallest, smallest)
    assert make(name, size=smallest)(picture).isfinite().all()
    with pytest.raises(ValueError, match=f"at least {smallest} pixels, not {smallest - 1}"):
        make(name, size=smallest - 1)


def test_binary_cnn_refuses_more_than_two_classes() -> None:
    with pytest.raises(ValueError, match="2 classes"):
        make("binary_cnn", classes=3)


def test_the_recipes_are_what_the_networks_were_published_with() -> None:
    net = recipe("mnist_net")
    assert (net.optimizer, net.lr, net.momentum, net.loss) == ("sgd", 0.01, 0.5, "nll")
    assert (net.epochs, net.batch, net.decay) == (10, 64, False)
    assert net.mean == pytest.approx((0.1307 * 255,))
    assert net.std == pytest.approx((0.3081 * 255,))
    for name in ("mnist_cnn3", "mnist_cnn2"):
        cnn = recipe(name)
        assert (cnn.optimizer, cnn.loss, cnn.epochs, cnn.batch) == ("adam", "cross_entropy", 5, 64)
    binary = recipe("binary_cnn")
    assert (binary.optimizer, binary.loss, binary.size) == ("adam", "bce", 64)
    assert binary.channels == 3


def test_listing_the_networks_needs_no_torch() -> None:
    code = "import sys, edgecnn.models, edgecnn.train.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
