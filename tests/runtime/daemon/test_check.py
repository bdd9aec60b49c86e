"""What keeps a site from being served on this machine is said before anything starts."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgecnn_runtime.daemon.check import model_problems, problems, remarks
from edgecnn_runtime.daemon.site import load_site, parse_site
from edgecnn_runtime.daemon.supervisor import Daemon
from edgecnn_runtime.errors import (
    BundleError,
    ConfigError,
    EdgecnnError,
    OutboxError,
    SelfTestError,
    UsageError,
)
from edgecnn_runtime.outbox.database import NAME, VERSION

NOBODY = 65534
LONG = "a" * 300
Change = Callable[[str, str], None]


@pytest.fixture
def change(site: Path) -> Change:
    def change(old: str, new: str) -> None:
        assert old in site.read_text()
        site.write_text(site.read_text().replace(old, new, 1))

    return change


def problem(site: Path) -> EdgecnnError:
    """The only thing that is wrong; the daemon does not start because of it."""
    errors = list(problems(load_site(site)))
    assert len(errors) == 1, errors
    with pytest.raises(type(errors[0])):
        Daemon(load_site(site))
    return errors[0]


def test_a_good_site_has_no_problem(site: Path) -> None:
    assert list(problems(load_site(site))) == []
    assert list(remarks(load_site(site))) == []


def test_a_model_that_nothing_uses_is_remarked(site: Path, color_bundles: dict[str, Path]) -> None:
    site.write_text(f"models: {{{color_bundles['colors']}: {{}}}}\n" + site.read_text())
    assert list(problems(load_site(site))) == []
    (words,) = remarks(load_site(site))
    assert words.endswith(f"models: no pipeline uses {color_bundles['colors']}")


@pytest.mark.parametrize(("mode", "open_to_all"), [(0o700, False), (0o750, False), (0o755, True)])
def test_a_state_folder_that_everybody_may_look_into_is_remarked(
    site: Path, mode: int, open_to_all: bool
) -> None:
    state = site.parent / "state"
    state.mkdir()
    state.chmod(mode)
    words = list(remarks(load_site(site)))
    assert bool(words) == open_to_all
    if open_to_all:
        assert "(mode 0755)" in words[0]
        subprocess.run(words[0].partition("are not: ")[2].split(), check=True)  # the advice works
        assert list(remarks(load_site(site))) == []
    assert list(problems(load_site(site))) == []


def test_crops_come_from_the_network_where_another_stream_is_looked_at(
    site: Path, change: Change
) -> None:
    change("source: red.mp4", "source: /dev/video0, detect_source: red.mp4")
    assert "cameras.gate.source: /dev/video0: crops can be cut" in str(problem(site))


def test_a_port_in_use(site: Path, change: Change) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        change("127.0.0.1:0", f"127.0.0.1:{server.getsockname()[1]}")
        assert "http.listen: 127.0.0.1:" in str(problem(site))
        assert "choose another port" in str(problem(site))


def test_a_bundle_that_is_damaged_missing_or_another_one(
    site: Path, change: Change, color_bundles: dict[str, Path]
) -> None:
    blobs = str(color_bundles["blobs"])
    shutil.copytree(blobs, site.parent / "copy.edge")
    change(blobs, "copy.edge")
    site.write_text(site.read_text() + f"models: {{copy.edge: {{digest: {'0' * 64}}}}}\n")
    error = problem(site)
    assert isinstance(error, BundleError)
    assert "site.yaml:9: models.copy.edge: " in str(error)
    assert "not the pinned" in str(error)
    change("models:", "#")
    (site.parent / "copy.edge" / "golden.npz").write_bytes(b"PK")
    assert isinstance(problem(site), BundleError)
    change("copy.edge", "gone.edge")
    error = problem(site)
    assert isinstance(error, ConfigError)
    assert "cameras.gate.pipeline: " in str(error)
    assert "no such bundle" in str(error)


def test_a_bundle_that_fails_its_self_test(
    site: Path, change: Change, make_bundle: Callable[..., Path], color_bundles: dict[str, Path]
) -> None:
    change(str(color_bundles["blobs"]), str(make_bundle("wrong", wrong=True)))
    with pytest.raises(SelfTestError, match="does not reproduce"):
        Daemon(load_site(site)).__enter__()
    assert [type(error) for error in model_problems(load_site(site))] == [SelfTestError]


def test_a_second_model_that_cannot_read_what_the_first_finds(
    site: Path, change: Change, color_bundles: dict[str, Path]
) -> None:
    text = "detect: {model: DETECT}\nrecognize: {model: READ, crop: landmarks}\n"
    text = text.replace("DETECT", str(color_bundles["blobs"]))
    text = text.replace("READ", str(color_bundles["letters"]))
    (site.parent / "plates.yaml").write_text(text)
    change(str(color_bundles["blobs"]), "plates.yaml")
    message = str(problem(site))
    assert "site.yaml:3: cameras.gate.pipeline: " in message
    assert "plates.yaml:2: recognize.crop: landmarks are 5 points" in message


def test_a_state_folder_that_cannot_be_written(site: Path, change: Change, read_only: Path) -> None:
    change("state: state", f"state: {read_only}/edgecnn")
    assert "site.yaml:8: state: " in str(problem(site))


def test_streams_without_pyav(site: Path, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    change("red.mp4", "rtsp://192.0.2.1/main")
    monkeypatch.setattr("edgecnn_runtime.daemon.check.find_spec", lambda name: None)
    assert "site.yaml:3: cameras.gate.source: network streams need PyAV: pip" in str(problem(site))


def test_a_state_folder_that_is_full(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecnn_runtime.daemon.check.LEAST_FREE", 1 << 62)
    assert "its disk is full" in str(problem(site))


def test_a_database_of_a_newer_version(site: Path) -> None:
    import sqlite3

    state = site.parent / "state"
    with Daemon(load_site(site)):
        pass
    with sqlite3.connect(state / NAME) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    error = problem(site)
    assert isinstance(error, OutboxError)
    assert "site.yaml:8: state: " in str(error)
    assert "newer edgecnn" in str(error)
    (state / NAME).write_bytes(b"no database at all" * 100)
    assert isinstance(problem(site), OutboxError)


def test_a_state_folder_that_is_in_use(site: Path) -> None:
    with Daemon(load_site(site)), pytest.raises(OutboxError, match="another process"):
        Daemon(load_site(site)).__enter__()


def test_a_site_that_runs_can_be_checked(site: Path, change: Change) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    change("127.0.0.1:0", f"127.0.0.1:{port}")
    with Daemon(load_site(site)):
        assert list(problems(load_site(site))) == []
        with pytest.raises(OutboxError, match="another process"):
            Daemon(load_site(site)).__enter__()


def test_a_token_that_others_can_read(site: Path) -> None:
    with Daemon(load_site(site)):
        pass
    (site.parent / "state" / "operator.token").chmod(0o644)
    assert "chmod 600" in str(problem(site))


def make_certificate(folder: Path, name: str) -> None:
    """NAME.pem and NAME.key."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    words = [*command.split(), "-subj", "/CN=localhost"]
    files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
    subprocess.run([*words, *files], check=True, capture_output=True)


def test_a_certificate_that_does_not_match_its_key(site: Path, change: Change) -> None:
    folder = site.parent
    for name in ("a", "b"):
        make_certificate(folder, name)
    change('"127.0.0.1:0"', '"127.0.0.1:0", certificate: a.pem, key: b.key')
    assert "http.certificate: " in str(problem(site))
    assert "is not the key of the certificate" in str(problem(site))
    change("b.key", "a.key")
    assert list(problems(load_site(site))) == []


def test_a_watch_list_and_a_sink_that_cannot_be(site: Path, change: Change) -> None:
    change("state: state", "state: state\nrules: [{watchlist: gone.csv}]")
    assert "rules[0]: " in str(problem(site))
    change("gone.csv", "list.csv")
    (site.parent / "list.csv").write_text("text,name\nAB 1,Anna\n")
    change("kind: jsonl, file: events.jsonl", "kind: webhook, url: 'ftp://x'")
    assert isinstance(first_problem(site), UsageError)
    assert str(first_problem(site)).count("sinks.log") == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("source: red.mp4", f"source: {LONG}", ":3: cameras.gate.source: "),
        (
            "source: red.mp4",
            "source: 'rtsp://[::1/'",
            ":3: cameras.gate.source: rtsp://[::1/: not",
        ),
        (
            "source: red.mp4",
            "source: 'rtsp://u:secret@h:99999/'",
            "gate.source: rtsp://u:***@h:99999/",
        ),
        (
            "source: red.mp4",
            "source: 'rtsp:///main'",
            ":3: cameras.gate.source: rtsp:///main: no",
        ),
        ("state: state", f"state: {LONG}", ":8: state: "),
        ("state: state", f"models: {{{LONG}: {{batch: 2}}}}\nstate: state", f":8: models.{LONG}: "),
        ("file: events.jsonl", f"file: {LONG}", ":6: sinks.log.file: "),
        ("jsonl, file: x", "webhook, url: 'http://[::1/'", ":6: sinks.log.url: not an address"),
        ("jsonl, file: x", "webhook, url: 'http://a b/'", ":6: sinks.log.url: not an address"),
        ("jsonl, file: x", 'webhook, url: "http://a/\\n"', ":6: sinks.log.url: not an address"),
        ("127.0.0.1:0", "::::1:0", "must be ADDRESS:PORT"),
        (
            "127.0.0.1:0",
            "....:0",
            ":7: http.listen: ....:0 cannot be listened on: there is",
        ),
    ],
)
def test_no_value_is_a_traceback(
    site: Path, change: Change, old: str, new: str, message: str
) -> None:
    change("file: events.jsonl", "file: x" if "file: x" in old else "file: events.jsonl")
    change(old, new)
    assert message in str(first_problem(site))


def test_a_pipeline_whose_name_is_too_long(
    site: Path, change: Change, color_bundles: dict[str, Path]
) -> None:
    change(str(color_bundles["blobs"]), LONG)
    assert "site.yaml:3: cameras.gate.pipeline: " in str(problem(site))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("label: thnig", "rules[0].label: there is no class 'thnig'; did you mean thing?"),
        ("label: [thing, car]", "rules[0].label[1]: there is no class 'car'; there are: "),
        ("min_score: {thnig: 0.5}", "rules[0].min_score.thnig: there is no class 'thnig'; did"),
        ("zone: lain", "rules[0].zone: there is no zone 'lain'; did you mean lane?"),
        ("line: bar", "rules[0].line: there is no line 'bar'; there are: none"),
        ("when: recognized", "rules[0].when: nothing is recognized without a second model"),
        ("camera: yard, zone: lane", "rules[0].zone: there is no zone 'lane'; there are: none"),
    ],
)
def test_a_rule_asks_for_what_its_cameras_can_give(
    site: Path, change: Change, rule: str, message: str
) -> None:
    change("source: red.mp4", "source: red.mp4, zones: {lane: [[0, 0], [1, 0], [1, 1]]}")
    change("state: state", f"state: state\nrules:\n- {{min_size: 0.1, {rule}}}")
    assert f"site.yaml:10: {message}" in str(problem(site))
    change(rule, "zone: lane, label: thing, min_score: {thing: 0.5}")
    assert list(problems(load_site(site))) == []


def test_zones_of_a_pipeline_are_those_of_its_cameras(
    site: Path, change: Change, color_bundles: dict[str, Path]
) -> None:
    text = f"detect: {{model: {color_bundles['blobs']}}}\nzones: {{lane: [[0, 0], [1, 0], [1, 1]]}}"
    (site.parent / "blobs.yaml").write_text(text)
    change(str(color_bundles["blobs"]), "blobs.yaml")
    change("state: state", "state: state\nrules: [{zone: lane}]")
    assert list(problems(load_site(site))) == []


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (
            "{kind: csv, file: events.jsonl}",
            "sinks.two.file: the sink log writes events.jsonl, too",
        ),
        ("{kind: csv, file: ./events.jsonl}", "sinks.two.file: the sink log writes ./events.json"),
        ("{kind: csv, file: site.yaml}", "sinks.two.file: site.yaml is no place for events"),
        ("{kind: jsonl, file: state/events.sqlite}", "events.sqlite is no place for events"),
        ("{kind: jsonl, file: state/x.token}", "x.token is no place for events"),
        ("{kind: jsonl, file: ''}", " is a folder: add a name"),
        ("{kind: jsonl, file: state}", "state is a folder: add a name"),
        ("{kind: snapshots, folder: red.mp4}", ".mp4 is a file, not a folder"),
        ("{kind: clips, folder: red.mp4}", ".mp4 is a file, not a folder"),
    ],
)
def test_no_sink_writes_what_is_somebody_else_s(
    site: Path, change: Change, sink: str, message: str
) -> None:
    (site.parent / "state").mkdir()
    change("http:", f"  two: {sink}\nhttp:")
    assert message in str(problem(site))


def test_a_sink_s_folder_that_cannot_be_written() -> None:
    """Where events are written now, and where the file of yesterday is set aside."""
    with tempfile.TemporaryDirectory() as name, as_somebody(Path(name)) as folder:
        (folder / "free").mkdir()
        (folder / "mine").mkdir()
        (folder / "mine" / "events.csv").touch()
        (folder / "mine").chmod(0o500)
        sinks = [
            "  a: {kind: csv, file: mine/events.csv}",
            "  b: {kind: jsonl, file: mine/events.jsonl}",
            "  c: {kind: snapshots, folder: mine/pictures}",
            "  d: {kind: clips, folder: mine}",
            "  e: {kind: jsonl, file: free/events.jsonl}",
            "  f: {kind: clips, folder: free}",
        ]
        file = parse_site("sinks:\n" + "\n".join(sinks), folder / "site.yaml")
        before = sorted(folder.rglob("*"))
        errors = [str(error) for error in problems(file) if ": sinks." in str(error)]
        assert [error.split(": ")[1] for error in errors] == [
            "sinks.a.file", "sinks.b.file", "sinks.c.folder", "sinks.d.folder",
        ]  # fmt: skip
        assert all(f"may not write {folder}/mine" in error for error in errors)
        assert sorted(folder.rglob("*")) == before
        (folder / "mine").chmod(0o700)


@contextmanager
def as_somebody(folder: Path) -> Iterator[Path]:
    """A folder of this user, who is not root for a while: root may write anything."""
    if os.geteuid() != 0:
        yield folder
        return
    os.chown(folder, NOBODY, -1)
    os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        os.seteuid(0)


def first_problem(site: Path) -> EdgecnnError:
    try:
        file = load_site(site)
    except ConfigError as error:
        return error
    return next(iter(problems(file)))


def test_the_example_can_be_served_where_its_files_are(
    tmp_path: Path, root: Path, color_bundles: dict[str, Path]
) -> None:
    text = (root / "deploy" / "site.example.yaml").read_text()
    assert "127.0.0.1:8090" in text
    path = tmp_path / "site.yaml"
    text = text.replace("127.0.0.1:8090", "127.0.0.1:0").replace('state: ""', "state: s")
    path.write_text(text.replace("label: face", "label: thing"))
    (tmp_path / "gate.credentials").write_text("admin:geheim77")
    for name in ("mqtt.password", "hook.secret", "hook.token"):
        (tmp_path / name).write_text("geheim78-geheim78-geheim78")
    make_certificate(tmp_path, "device")
    shutil.copy(tmp_path / "device.pem", tmp_path / "ca.pem")
    (tmp_path / "known.csv").write_text("text,name\nAB 1,Anna\n")
    shutil.copytree(color_bundles["blobs"], tmp_path / "faces.edge")
    file = load_site(path)
    assert list(problems(file)) == []
    assert file.secrets >= {"geheim78-geheim78-geheim78", "geheim77"}
