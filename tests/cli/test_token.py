"""``edgecnn token`` shows the tokens of a daemon, and makes none where no daemon was."""

from pathlib import Path

import pytest

from edgecnn.cli import main


def test_without_a_site_no_token_is_made_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    assert main(["token"]) == 2
    assert "`edgecnn token SITE.yaml`" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()
    site = tmp_path / "site.yaml"
    site.write_text("cameras: {gate: {source: a.mp4, pipeline: b.edge}}\n")
    assert main(["token", str(site)]) == 0
    token = capsys.readouterr().out
    assert main(["token"]) == 0
    assert capsys.readouterr().out == token
