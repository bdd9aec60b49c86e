"""The state directory is for its owner's eyes, whoever makes it first."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn_runtime.backends.nvidia.engine_cache import store_engine
from edgecnn_runtime.device.cache import default_cache_dir, write_entry
from edgecnn_runtime.outbox import Outbox
from edgecnn_runtime.web.tokens import load_tokens


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def store_event(state: Path) -> None:
    with Outbox(state):
        load_tokens(state)


@pytest.mark.parametrize(
    "make",
    [
        lambda state: write_entry(state, "choice", ("a",), 1),
        lambda state: store_engine(state, ("a",), {"plan": b"engine"}),
        store_event,
    ],
    ids=["a measurement", "an engine", "events"],
)
def test_whatever_is_stored_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object]
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))
    state = default_cache_dir()
    make(state)
    folders = [state, *(path for path in state.iterdir() if path.is_dir())]
    assert {path.name: oct(mode(path)) for path in folders} == {
        path.name: "0o700" for path in folders
    }


def test_a_folder_that_is_shared_stays_so(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o750)
    assert write_entry(state, "choice", ("a",), 1)
    assert (mode(state), mode(state / "choice")) == (0o750, 0o700)
