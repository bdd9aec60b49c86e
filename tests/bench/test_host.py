"""The fingerprint: complete, stable, and nobody's name in it."""

import getpass
import platform
import re
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from edgecnn_bench.host import Host, fingerprint, host_id, read_text_or_empty, run_command


def test_it_is_the_same_twice(host: Host) -> None:
    assert fingerprint() == host


def test_it_says_what_a_latency_depends_on(host: Host) -> None:
    assert host.cpu
    assert 1 <= host.affinity <= host.cores
    assert host.memory_mib > 0
    assert host.python == platform.python_version()
    assert {"numpy", "edgecnn-runtime"} <= host.versions.keys()
    assert re.fullmatch("[0-9a-f]{12}", host.id)


def test_it_names_no_person_network_or_folder(host: Host) -> None:
    text = msgspec.json.encode(host).decode()
    node = platform.node()
    assert len(node) < 4 or node not in text
    user = getpass.getuser()
    assert not re.search(rf"\b{re.escape(user)}\b", text)
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text


def test_hardware_and_settings_make_the_id_and_versions_do_not(host: Host, jetson: Host) -> None:
    assert host_id(replace(host, kernel="9.9", python="3.99", versions={})) == host.id
    for change in ({"cpu": "other"}, {"affinity": 99}, {"power_mode": "15W"}, {"governor": "x"}):
        assert host_id(replace(host, **change)) != host.id
    assert jetson.id != host.id


def test_it_survives_json(host: Host) -> None:
    assert msgspec.json.decode(msgspec.json.encode(host), type=Host) == host


def test_what_is_absent_reads_as_nothing(tmp_path: Path) -> None:
    assert read_text_or_empty(tmp_path / "absent") == ""
    assert run_command("no-such-tool-anywhere") == ""
    assert run_command("false") == ""


@pytest.mark.parametrize("content", [b"plain\n", b"NVIDIA Jetson\0", b"caf\xe9"])
def test_odd_bytes_of_the_kernel_are_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    assert read_text_or_empty(path) == content.rstrip(b"\n\0").decode("utf-8", "replace")
