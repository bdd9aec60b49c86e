"""Engines are code: only what this user built here, whole and unchanged, is given back."""

import json

import pytest

from edgecnn_runtime.backends.nvidia.engine_cache import CONTENTS, load_engine, store_engine

KEY = ("digest", "batch 1", "a GPU")


@pytest.fixture
def folder(tmp_path):
    assert store_engine(tmp_path / "cache", KEY, {"plan": b"code", "kernels": b""})
    found = load_engine(tmp_path / "cache", KEY)
    assert found is not None
    return found


def test_what_was_kept_comes_back(folder, tmp_path):
    assert (folder / "plan").read_bytes() == b"code"
    assert (folder / "plan").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in folder.iterdir()} == {"plan", "kernels", CONTENTS}
    assert {path.name for path in folder.parent.iterdir()} == {folder.name}, "nothing half-written"


def test_another_key_is_another_engine(folder, tmp_path):
    for key in (KEY[:2], (*KEY[:2], "another GPU"), (*KEY, "")):
        assert load_engine(tmp_path / "cache", key) is None


def test_the_newest_is_kept(folder, tmp_path):
    assert store_engine(tmp_path / "cache", KEY, {"plan": b"newer"})
    assert (load_engine(tmp_path / "cache", KEY) / "plan").read_bytes() == b"newer"


def damage_content(folder):
    (folder / "plan").write_bytes(b"other code")


def remove(folder):
    (folder / "plan").unlink()


def link(folder):
    (folder / "plan").rename(folder / "elsewhere")
    (folder / "plan").symlink_to(folder / "elsewhere")


def let_others_write(folder):
    (folder / "plan").chmod(0o666)


def open_the_folder(folder):
    folder.chmod(0o777)


def another_key_inside(folder):
    contents = json.loads((folder / CONTENTS).read_text())
    (folder / CONTENTS).write_text(json.dumps({**contents, "key": ["another"]}))


def no_json(folder):
    (folder / CONTENTS).write_bytes(b"\xff{")


def outside(folder):
    (folder.parent / "x").write_bytes(b"code")
    contents = json.loads((folder / CONTENTS).read_text())
    digest = contents["files"]["plan"]
    (folder / CONTENTS).write_text(json.dumps({**contents, "files": {"../x": digest}}))


@pytest.mark.parametrize(
    "harm",
    [
        damage_content, remove, link, let_others_write, open_the_folder, another_key_inside,
        no_json, outside,
    ],
)  # fmt: skip
def test_what_may_not_be_ours_is_not_used(folder, tmp_path, harm):
    harm(folder)
    assert load_engine(tmp_path / "cache", KEY) is None
    assert store_engine(tmp_path / "cache", KEY, {"plan": b"code"}), "and it can be built again"
    assert load_engine(tmp_path / "cache", KEY) == folder


def test_a_cache_that_cannot_be_written_is_said(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file")
    assert not store_engine(tmp_path / "cache", KEY, {"plan": b"code"})
    assert "will be built again" in caplog.text
    assert load_engine(tmp_path / "cache", KEY) is None
