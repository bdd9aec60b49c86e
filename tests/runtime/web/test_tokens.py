"""The two tokens: made once, for their owner only, and nothing else is taken for one."""

import stat
from pathlib import Path

import pytest

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.web.tokens import ROLES, load_tokens, token_file


def test_the_first_start_makes_two_that_differ(tmp_path: Path) -> None:
    tokens = load_tokens(tmp_path)
    assert len({tokens.viewer, tokens.operator}) == 2
    assert min(map(len, (tokens.viewer, tokens.operator))) > 40
    assert load_tokens(tmp_path) == tokens
    for role in ROLES:
        assert stat.S_IMODE(token_file(tmp_path, role).stat().st_mode) == 0o600
    assert len(list(tmp_path.iterdir())) == 2


def test_rotating_replaces_both(tmp_path: Path) -> None:
    before, after = load_tokens(tmp_path), load_tokens(tmp_path, rotate=True)
    assert len({before.viewer, before.operator, after.viewer, after.operator}) == 4
    assert load_tokens(tmp_path) == after


def test_no_text_of_them_shows_them(tmp_path: Path) -> None:
    tokens = load_tokens(tmp_path)
    assert tokens.viewer not in f"{tokens} {tokens!r}"
    assert tokens.operator not in f"{tokens} {tokens!r}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622])
def test_a_token_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_tokens(tmp_path)
    token_file(tmp_path, "viewer").chmod(mode)
    with pytest.raises(UsageError, match=r"viewer\.token: others can read .* chmod 600"):
        load_tokens(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"short\n", b"\xff" * 40, b"two words, but long enough\n", b"a\0" * 20],
)
def test_what_is_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    load_tokens(tmp_path)
    token_file(tmp_path, "operator").write_bytes(content)
    with pytest.raises(UsageError, match=r"operator\.token: is no token"):
        load_tokens(tmp_path)


def test_one_token_for_both_is_refused(tmp_path: Path) -> None:
    load_tokens(tmp_path)
    token_file(tmp_path, "viewer").write_bytes(token_file(tmp_path, "operator").read_bytes())
    with pytest.raises(UsageError, match="delete one of the two"):
        load_tokens(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(read_only: Path) -> None:
    with pytest.raises(UsageError, match=r"viewer\.token"):
        load_tokens(read_only)
