"""Bundles for the commands that take one."""

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
