"""Bundles for the commands that take one."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_bundle(make_bundle: Callable[..., Path]) -> Path:
    """A small classifier that reproduces its golden outputs."""
    return make_bundle("tiny")


@pytest.fixture(scope="session")
def wrong_bundle(make_bundle: Callable[..., Path]) -> Path:
    """The same with golden outputs that no backend can reproduce."""
    return make_bundle("wrong", wrong=True)


@pytest.fixture(scope="session")
def color_bundles(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``blobs`` finds bright things, ``letters`` and ``colors`` tell blue, green and red."""
    file = root / "tests" / "runtime" / "conftest.py"  # where bundles are built
    spec = importlib.util.spec_from_file_location("build_bundles", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    bundles: dict[str, Path] = module.write_colors(tmp_path_factory.mktemp("colors"))
    return bundles
