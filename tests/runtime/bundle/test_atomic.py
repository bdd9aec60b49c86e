"""A folder stands whole or not at all, whoever is killed and whenever."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn_runtime.bundle.atomic import atomic_replace, remove_stale

Spawn = Callable[..., "subprocess.Popen[str]"]
HOLD = """
import sys
from pathlib import Path
from edgecnn_runtime.bundle.atomic import atomic_replace
with atomic_replace(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def start_writer(spawn: Spawn, out: Path) -> subprocess.Popen[str]:
    writer = spawn("-c", HOLD, str(out), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    return writer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "a.edge"
    with atomic_replace(out) as folder:
        (folder / "file").write_text("new")
        assert not out.exists()
    assert names(tmp_path) == ["a.edge"]
    assert (out / "file").read_text() == "new"


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "a.edge"
    out.mkdir()
    (out / "file").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_replace(out) as folder:
        (folder / "nowhere" / "file").write_text("new")
    assert names(tmp_path) == ["a.edge"]
    assert (out / "file").read_text() == "old"


def test_it_replaces_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "a.edge"
    out.mkdir()
    (out / "file").write_text("old")
    with atomic_replace(out) as folder:
        (folder / "other").write_text("new")
    assert names(tmp_path) == ["a.edge"]
    assert names(out) == ["other"]


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_process_left_is_swept(
    spawn: Spawn, tmp_path: Path, kill: signal.Signals
) -> None:
    out = tmp_path / "a.edge"
    writer = start_writer(spawn, out)
    writer.send_signal(kill)
    writer.wait()
    assert not out.exists()
    assert len(names(tmp_path)) == 1
    remove_stale(out)
    assert names(tmp_path) == []


def test_what_a_living_process_writes_is_left_alone(spawn: Spawn, tmp_path: Path) -> None:
    out = tmp_path / "a.edge"
    start_writer(spawn, out)
    remove_stale(out)
    assert len(names(tmp_path)) == 1
    with atomic_replace(out) as folder:
        (folder / "file").write_text("mine")
    assert names(out) == ["file"]


def test_a_bundle_moved_away_by_a_killed_process_is_put_back(tmp_path: Path) -> None:
    aside = tmp_path / ".a.edge.old.x1" / "a.edge"
    aside.mkdir(parents=True)
    (aside / "file").write_text("old")
    remove_stale(tmp_path / "a.edge")
    assert names(tmp_path) == ["a.edge"]
    assert (tmp_path / "a.edge" / "file").read_text() == "old"


def test_only_its_own_neighbors_are_swept(tmp_path: Path) -> None:
    kept = [".a.edge.keep.x", ".b.edge.new.x", ".a.edge.new", "a.edge.new.x"]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / ".a.edge.new.link").symlink_to(tmp_path / ".b.edge.new.x")
    remove_stale(tmp_path / "a.edge")
    assert names(tmp_path) == sorted([*kept, ".a.edge.new.link"])
