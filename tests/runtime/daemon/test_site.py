"""site.yaml: what people write, what they mistype, and values that come from files."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn_runtime.daemon.check import problems
from edgecnn_runtime.daemon.site import (
    UPGRADES,
    Site,
    SiteFile,
    load_site,
    parse_site,
    upgrade_site,
)
from edgecnn_runtime.errors import ConfigError, EdgecnnError
from edgecnn_runtime.recipe import read_recipe
from edgecnn_runtime.sinks.events import EVENT_SINKS

SITE = """\
version: 1
cameras:
  gate:
    source: rtsp://camera-1/main
    credentials: admin:geheim77
    pipeline: [plates.yaml, faces.edge]
    rate: 5
    zones: {lane: [[0.1, 0.4], [0.9, 0.4], [0.9, 1.0], [0.1, 1.0]]}
    lines: {bar: [[0.1, 0.7], [0.9, 0.7]]}
    mask: [[[0.0, 0.0], [0.2, 0.0], [0.2, 0.2]]]
  yard: {source: yard.mp4, pipeline: faces.edge, loop: true}
rules:
  - {when: recognized, camera: gate, zone: lane, watchlist: known.csv}
sinks:
  log: {kind: jsonl, file: events.jsonl}
http: {listen: 127.0.0.1:8090}
keep: {days: 30, disk: 10GB}
privacy: {blur: unknown}
timezone: Europe/Berlin
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "site.yaml"
        path.write_text(text)
        return path

    return write


def read(text: str) -> SiteFile:
    return parse_site(text, Path("site.yaml"))


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


def test_a_site_is_read(write: Callable[[str], Path]) -> None:
    file = load_site(write(SITE))
    gate, yard = file.site.cameras["gate"], file.site.cameras["yard"]
    assert gate.pipelines == ("plates.yaml", "faces.edge")
    assert gate.zones["lane"][2] == (0.9, 1.0)
    assert yard.pipelines == ("faces.edge",)
    assert file.resolve("plates.yaml") == file.path.parent / "plates.yaml"


def test_nothing_is_a_site_without_cameras() -> None:
    assert read("").site == Site()


def test_credentials_stand_in_the_address_and_are_quoted() -> None:
    text = SITE.replace("admin:geheim77", "'us@er:p/a:s s'")
    gate = read(text).site.cameras["gate"]
    assert gate.address(gate.source) == "rtsp://us%40er:p%2Fa%3As%20s@camera-1/main"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    rate: 5", "    rats: 5", "site.yaml:7: cameras.gate.rats: no such key; did you mean"),
        ("  yard:", "  gate:", "site.yaml:11: cameras.gate: set twice, first in line 3"),
        ("[0.9, 1.0]", "[0.9, 1.2]", "site.yaml:8: cameras.gate.zones.lane[2][1]: expected"),
        ("[0.9, 1.0], [0.1, 1.0]", "", "site.yaml:8: cameras.gate.zones.lane: "),
        ("[0.9, 0.7]]", "[0.1, 0.7]]", "site.yaml:9: cameras.gate.lines.bar: begins where it ends"),
        ("rtsp://camera-1", "rstp://camera-1", "site.yaml:4: cameras.gate.source: rstp://"),
        ("admin:geheim77", "admin", "site.yaml:5: cameras.gate.credentials: must be USER:PASSWORD"),
        ("camera: gate", "camera: gat", "site.yaml:13: rules[0].camera: there is no camera 'gat'"),
        ("127.0.0.1:8090", "'a\u2028b:80'", "site.yaml:16: character U+2028, a line break that"),
        ("127.0.0.1:8090", "'a\\u2028b:80'", "site.yaml:16: http.listen: must be ADDRESS:PORT"),
        ("127.0.0.1:8090", "'::1:80'", "site.yaml:16: http.listen: must be ADDRESS:PORT"),
        ("127.0.0.1:8090", "127.0.0.1", "site.yaml:16: http.listen: must be ADDRESS:PORT"),
        ("127.0.0.1:8090", "'0.0.0.0:80', auth: false", "site.yaml:16: http.auth: without a token"),
        ("127.0.0.1:8090", "'0.0.0.0:80', key: a.pem", "site.yaml:16: http: TLS needs both"),
        (
            "127.0.0.1:8090",
            "'0.0.0.0:80', hosts: ['a:1']",
            "site.yaml:16: http.hosts[0]: must be a",
        ),
        ("8090", "80, proxies: ['::1', 10.0.0.0/8, b]", "site.yaml:16: http.proxies[2]: 'b' is no"),
        ("8090", "80, proxies: [10.0.0.1/8]", "site.yaml:16: http.proxies[0]: 10.0.0.1/8 is neit"),
        ("8090", "80, proxies: ['*']", "site.yaml:16: http.proxies[0]: '*' is not an IP address"),
        ("8090", "80, proxies: ['::/0']", "site.yaml:16: http.proxies[0]: ::/0 is every address"),
        ("8090", "80, proxies: [127.0.0.1:80]", "site.yaml:16: http.proxies[0]: '127.0.0.1:80' is"),
        ("8090", "80, streams: 0", "site.yaml:16: http.streams: expected a whole number >= 1"),
        ("10GB", "9MB", "site.yaml:17: keep.disk: 9MB is too little: 10MB or more"),
        ("    rate: 5", "    rate: 1e-9", "site.yaml:7: cameras.gate.rate: expected a number >="),
        ("admin:geheim77", "':x'", "site.yaml:5: cameras.gate.credentials: must be USER:PASSWORD"),
        ("version: 1", "state: ~/x", "site.yaml:1: state: ~ is not the home directory here"),
        ("10GB", "10 gigabytes", "site.yaml:17: keep.disk: cannot be '10 gigabytes' – such as"),
        ("Europe/Berlin", "Europe/Berlim", "site.yaml:19: timezone: there is no such time zone"),
        ("Europe/Berlin", "../../etc/passwd", "site.yaml:19: timezone: there is no such time zone"),
        (
            "version: 1",
            "version: 2",
            "site.yaml:1: version: 2 is not a version of this edgecnn (1);",
        ),
        ("yard.mp4", "rtsp://camera-1/main", "site.yaml:4: cameras.gate.source: "),
        ("  yard:", "  Gate:", "site.yaml:11: cameras.Gate: differs from the camera gate only"),
        ("  yard:", "  ya rd:", "site.yaml:11: cameras.ya rd: a name has letters"),
    ],
)
def test_what_cannot_be_right_has_a_line_and_a_reason(old: str, new: str, message: str) -> None:
    assert old in SITE
    if "camera-1/main" in new:  # a camera twice, and not a file that loops
        new, message = f"{new}, max_age: 1", "site.yaml:11: cameras.yard.source: the camera gate"
        text = SITE.replace(old, new, 1).replace(", loop: true", "")
    else:
        text = SITE.replace(old, new, 1)
    assert refusal(text).startswith(message)


def test_a_sink_of_a_camera_or_a_type_that_is_not_there() -> None:
    cameras = "cameras: {gate: {source: a.mp4, pipeline: b.edge}}"
    site = f"{cameras}\nsinks: {{log: {{kind: jsonl, file: x, %s}}}}"
    message = refusal(site % "cameras: [gaet]")
    assert (
        message == "site.yaml:2: sinks.log.cameras: there is no camera 'gaet'; did you mean gate?"
    )
    message = refusal(site % "flie: y")
    assert message == "site.yaml:2: sinks.log.flie: no such key; did you mean file?"
    message = refusal(site % "urll: y")  # a webhook has one like it
    assert message.startswith("site.yaml:2: sinks.log.urll: no such key; known here: kind, ")
    message = refusal(site % "url: y")
    assert message.startswith("site.yaml:2: sinks.log.url: no such key; known here: kind, ")
    message = refusal(site % "events: [enterd]")
    assert message.count("entered") == 2  # among all types, once, and as the nearest one
    message = refusal("cameras: {gate: {source: a.mp4, pipeline: b.edge, flip: x}}")
    assert message.endswith("""cannot be 'x'; one of "", h, hv, v""")


def test_a_pipeline_and_a_site_are_told_apart(tmp_path: Path) -> None:
    assert "`pipeline` of a camera" in refusal("detect: {model: a.edge}\n")
    (tmp_path / "site.yaml").write_text(SITE)
    with pytest.raises(ConfigError, match=r"is a site.*`edgecnn serve "):
        read_recipe(tmp_path / "site.yaml")


def test_who_names_no_site_is_told_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"gone.yaml: there is no such file; `edgecnn cameras"
    ) as e:
        load_site(tmp_path / "gone.yaml")
    assert f"--write {tmp_path}/gone.yaml --pipeline NAME.edge`" in str(e.value)
    bundle = tmp_path / "faces.edge"
    bundle.mkdir()
    for path in (bundle, bundle.with_name("gone.edge")):
        with pytest.raises(ConfigError, match=r"a bundle is no site: `edgecnn run .*edge S") as e:
            upgrade_site(path)
        assert f"`edgecnn cameras --write site.yaml --pipeline {path}`" in str(e.value)
    with pytest.raises(ConfigError, match="Is a directory"):
        load_site(tmp_path)


def test_any_value_may_come_from_a_file(write: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("admin:0123\n")
    (tmp_path / "rate").write_text("7.5\n")
    text = SITE.replace("admin:geheim77", "{file: secret}").replace("rate: 5", "rate: {file: rate}")
    gate = load_site(write(text)).site.cameras["gate"]
    assert gate.credentials == "admin:0123"
    assert gate.rate == 7.5


def test_credentials_of_the_service_come_first(
    write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("beside:the-file")
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "secret").write_text("of:the-service")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "service"))
    file = load_site(write(SITE.replace("admin:geheim77", "{file: secret}")))
    assert file.site.cameras["gate"].credentials == "of:the-service"


@pytest.mark.parametrize("key", ["    rate: 5", "    transport: tcp", "    paused: false"])
def test_no_message_shows_what_a_file_holds(
    write: Callable[[str], Path], tmp_path: Path, key: str
) -> None:
    (tmp_path / "secret").write_text("hunter2-hunter2\n")
    text = SITE.replace("    rate: 5", key.partition(":")[0] + ": {file: secret}")
    with pytest.raises(ConfigError) as caught:
        load_site(write(text))
    assert "what the file secret holds cannot be right" in str(caught.value)
    assert "site.yaml:7:" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "site",
    [
        "cameras: {gate: {source: x, pipeline: y}}\nrtsp://admin:s3cret@ rules: []",
        "cameras: {gate: {source: x, pipeline: y, transport: 'rtsp://admin:s3cret@10.0.0.7/live'}}",
        "cameras: {gate: {source: x, pipeline: y}}\nsinks: {a: {kind: 'http://me:s3cret@'}}",
    ],
)
def test_a_password_in_the_wrong_place_is_not_shown(site: str) -> None:
    message = refusal(site)
    assert "s3cret" not in message
    assert "***" in message


def test_a_file_that_is_not_there_is_named_with_the_line(write: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=r"site.yaml:5: cameras.gate.credentials: .*no such file"):
        load_site(write(SITE.replace("admin:geheim77", "{file: gone}")))


def test_an_older_file_is_brought_up_to_date_with_a_copy_of_it(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def upgrade(text: str) -> str:
        return text.replace("version: 0", "version: 1").replace("  gate:", "  front:")

    monkeypatch.setitem(UPGRADES, 0, upgrade)
    text = SITE.replace("version: 1", "version: 0").replace("camera: gate", "camera: front")
    path = write(text)
    path.chmod(0o640)
    assert "front" in load_site(path).site.cameras
    assert path.read_text() == text, "who only reads changes nothing"
    copy = upgrade_site(path)
    assert copy == path.with_name("site.yaml.0")
    assert copy.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o640
    assert "front" in load_site(path).site.cameras
    assert upgrade_site(path) is None


WORDS = [
    ": ", "- ", "{", "}", "[", "]", "'", '"', "#", "&a ", "*a", "!!python/object:os.x ", "null",
    "-1", "1e999", ".nan", "0x", "~", "|", ">", "%", "@", "\t", "\x00", "\ud7ff",
    "{file: /etc/shadow}", "{file: 7}", "{file: {file: a}}", "true", "99999999999999999",
]  # fmt: skip


def mutate(text: str, chance: random.Random) -> str:
    """Text as a tired person, a broken disk or an attacker leaves it."""
    for _ in range(chance.randint(1, 4)):
        lines = text.splitlines() or [""]
        at, line = chance.randrange(len(text) + 1), chance.randrange(len(lines))
        kind = chance.choice(["cut", "insert", "drop", "double", "swap", "indent", "letter"])
        if kind == "cut":
            text = text[:at] + text[at + chance.randint(1, 9) :]
        elif kind == "insert":
            text = text[:at] + chance.choice(WORDS) + text[at:]
        elif kind == "letter":
            text = text[:at] + chr(chance.choice([chance.randrange(128), 0x2028, 0xE9])) + text[at:]
        elif kind == "drop":
            text = "\n".join(lines[:line] + lines[line + 1 :])
        elif kind == "double":
            text = "\n".join(lines[: line + 1] + lines[line:])
        elif kind == "swap":
            lines[line], lines[0] = lines[0], lines[line]
            text = "\n".join(lines)
        else:
            lines[line] = chance.choice([" ", "  ", "\t", "- "]) + lines[line]
            text = "\n".join(lines)
    return text


def refused(text: str) -> str:
    """Why it is refused; empty where it is a site, of which this machine may lack much."""
    try:
        file = read(text)
    except ConfigError as error:
        return str(error)
    assert all(isinstance(problem, EdgecnnError) for problem in problems(file))
    return ""


@given(st.integers(0, 2**32))
@settings(max_examples=1000)
def test_a_mutated_site_is_a_site_or_refused_with_its_line(seed: int) -> None:
    if message := refused(mutate(SITE, random.Random(seed))):
        assert re.match(r"site\.yaml:[0-9]+: .", message), message


def test_the_example_has_every_key_and_is_a_site(root: Path, tmp_path: Path) -> None:
    text = (root / "deploy" / "site.example.yaml").read_text()
    for name in ("mqtt.password", "hook.secret", "hook.token"):
        (tmp_path / name).write_text("geheim78")
    (tmp_path / "gate.credentials").write_text("admin:geheim77")
    site = parse_site(text, tmp_path / "site.yaml").site
    assert site.cameras["gate"].credentials == "admin:geheim77"
    plain = yaml.safe_load(text)
    sections = {
        "": (plain, Site),
        "camera": (plain["cameras"]["gate"], type(site.cameras["gate"])),
        "model": (plain["models"]["faces.edge"], type(site.models["faces.edge"])),
        "rule": (plain["rules"][0], type(site.rules[0])),
        "http": (plain["http"], type(site.http)),
        "privacy": (plain["privacy"], type(site.privacy)),
        "keep": (plain["keep"], type(site.keep)),
        "logging": (plain["logging"], type(site.logging)),
    }
    for name, (section, kind) in sections.items():
        assert set(section) == set(kind.__struct_fields__), name
    sinks = {sink["kind"]: sink for sink in plain["sinks"].values()}
    assert set(sinks) == set(EVENT_SINKS)
    for name, kind in EVENT_SINKS.items():
        shared = {"kind", "events", "cameras"}
        assert set(sinks[name]) | shared == {*kind.settings.__struct_fields__, *shared}, name
