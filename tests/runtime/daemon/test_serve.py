"""``edgecnn serve`` and ``edgecnn token`` as a person and systemd start them."""

import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn_runtime.outbox import OutboxReader

Spawn = Callable[..., "subprocess.Popen[str]"]
PIPE = subprocess.PIPE


def ask(address: str, path: str, token: str = "") -> Any:
    request = urllib.request.Request(f"{address}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.fixture
def started(spawn: Spawn, site: Path) -> Callable[..., tuple["subprocess.Popen[str]", Any]]:
    """Starts the command; gives the process and what it printed."""

    def start(**options: Any) -> tuple["subprocess.Popen[str]", Any]:
        words = ("-m", "edgecnn", "serve", str(site), "--json")
        process = spawn(*words, stdout=PIPE, stderr=PIPE, **options)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        return process, json.loads(line)

    return start


def test_two_clips_are_cameras_with_events_and_a_page(
    started: Callable[..., Any], spawn: Spawn, site: Path, until: Callable[..., None]
) -> None:
    process, summary = started()
    page = summary["page"]
    assert page.startswith("http://127.0.0.1:")
    assert set(summary["cameras"]) == {"gate", "yard"}
    printed = spawn("-m", "edgecnn", "token", str(site), stdout=PIPE)
    token = printed.communicate()[0].strip()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(page, "api/cameras")
    assert ask(page, "healthz")["status"] == "ok"

    def cameras() -> Any:
        return {each["name"]: each["state"] for each in ask(page, "api/cameras", token)}

    until(lambda: cameras() == {"gate": "live", "yard": "live"}, "the cameras")
    state = Path(summary["state"])
    reader = OutboxReader(state)
    until(lambda: {each.event.type for each in reader.read()} >= {"entered", "left"}, "events")
    assert all(path.stat().st_mode & 0o077 == 0 for path in state.glob("*.token"))
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert (out, "Traceback" in errors) == ("", False)
    assert token not in errors
    assert re.search(r"stopping: 2 of 2 cameras live.*\n.*stopped in [0-9.]+ s: [1-9]", errors)


def test_systemd_hears_of_start_reload_and_end(
    started: Callable[..., Any], site: Path, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        heard: list[str] = []

        def hears(words: str) -> None:
            while not any(words in message for message in heard):
                heard.append(manager.recv(4096).decode())
            heard.clear()

        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        environment["WATCHDOG_USEC"] = "2000000"
        process, _ = started(env=environment)
        hears("READY=1")
        hears("WATCHDOG=1")
        hears("2 of 2 cameras live")
        process.send_signal(signal.SIGHUP)
        hears("RELOADING=1\nMONOTONIC_USEC=")
        hears("READY=1")
        site.write_text("cameras: 5\n")
        process.send_signal(signal.SIGHUP)
        hears("RELOADING=1\nMONOTONIC_USEC=")
        hears("READY=1")
        process.send_signal(signal.SIGINT)
        hears("STOPPING=1")
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "site.yaml:1: cameras: expected" in errors
    assert "what was served before is still served" in errors


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_check_says_everything_and_starts_nothing(
    spawn: Spawn, site: Path, flags: tuple[str, ...]
) -> None:
    words = ("-m", "edgecnn", "serve", "--check", str(site), *flags)
    process = spawn(*words, stdout=PIPE)
    out = process.communicate()[0]
    assert process.returncode == 0
    assert "good: 2 cameras" in out if not flags else json.loads(out)["problems"] == []
    assert json.loads(out)["remarks"] == [] if flags else out.count("\n") == 1
    (site.parent / "state").chmod(0o755)
    process = spawn(*words, stdout=PIPE)
    assert "may look into it" in process.communicate()[0]
    assert process.returncode == 0
    text = site.read_text().replace("red.mp4", "gone.mp4").replace("127.0.0.1:0", "192.0.2.1:80")
    site.write_text(text)
    process = spawn(*words, stdout=PIPE)
    out = process.communicate()[0]
    assert process.returncode == 2
    assert "cameras.gate.source" in out
    assert "http.listen" in out
    assert not (site.parent / "state" / "events.sqlite").exists()
    site.write_text("cameras: 5\n# \\x1b[31m")
    process = spawn(*words, stdout=PIPE)
    out = process.communicate()[0]
    assert process.returncode == 2
    said = json.loads(out)["problems"][0]["message"] if flags else out
    assert "site.yaml:1: cameras: expected keys and values" in said


def test_tokens_are_for_two_roles_and_may_be_made_anew(spawn: Spawn, site: Path) -> None:
    def token(*flags: str) -> str:
        return spawn("-m", "edgecnn", "token", str(site), *flags, stdout=PIPE).communicate()[0]

    operator, viewer = token(), token("--role", "viewer")
    assert operator != viewer
    assert token() == operator
    both = json.loads(token("--rotate", "--json"))
    assert both["operator"] != operator.strip()
    assert token("--role", "viewer").strip() == both["viewer"] != viewer.strip()
