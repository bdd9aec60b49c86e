"""``edgecnn cameras``: devices as the kernel lists them, ONVIF cameras as they answer."""

import base64
import hashlib
import http.server
import json
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn import cameras, onvif
from edgecnn.cameras import CameraDevice, NetworkCamera, attached_cameras, site_entries
from edgecnn.cli import main
from edgecnn.onvif import OnvifError, discover
from edgecnn_runtime.daemon.site import parse_site

SOAP = "<?xml version='1.0'?><e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'>{}</e:Envelope>"


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """A kernel's list of three nodes, two of them of one USB camera, and its device files."""
    classes, devices = tmp_path / "class", tmp_path / "dev"
    (devices / "v4l" / "by-id").mkdir(parents=True)
    nodes = {
        "video0": ("bcm2835-codec", "0"),
        "video10": ("Cam: A", "0"),
        "video11": ("Cam: A", "1"),
    }
    for node, (name, index) in nodes.items():
        (classes / node).mkdir(parents=True)
        (classes / node / "name").write_text(f"{name}\n")
        (classes / node / "index").write_text(f"{index}\n")
        (devices / node).touch()
    (devices / "v4l" / "by-id" / "usb-A-index0").symlink_to("../../video10")
    return classes, devices


def test_a_device_has_the_name_that_stays(machine: tuple[Path, Path]) -> None:
    (device,) = attached_cameras(*machine)
    assert device.device.endswith("/video10")
    assert device.source.endswith("/v4l/by-id/usb-A-index0")
    assert (device.name, device.usable) == ("Cam: A", True)


def test_a_jetson_s_cameras_are_opened_through_its_own_pipeline(machine: tuple[Path, Path]) -> None:
    classes, devices = machine
    for node in ("video0", "video10"):
        (classes / node / "name").write_text("vi-output, imx219 9-0010\n")
    assert [device.source for device in attached_cameras(classes, devices)] == [
        "csi://0",
        "csi://1",
    ]


class Onvif:
    """A camera that answers probes and serves ONVIF on loopback.

    Attributes:
        group: Where it is asked.
        user: The one it lets in; "" lets everybody in.
        answer: Changes its answers.
    """

    def __init__(self, user: str = "", password: str = "") -> None:
        self.user, self.password = user, password
        self.answer: Callable[[str], str] = lambda text: text
        self._probes = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._probes.bind(("127.0.0.1", 0))
        self.group = self._probes.getsockname()
        onvif_camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                code, text = onvif_camera.reply(body)
                self.send_response(code)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.service = f"http://127.0.0.1:{self._http.server_port}/onvif/device_service"
        for target in (self._http.serve_forever, self._answer_probes):
            threading.Thread(target=target, daemon=True).start()

    def _answer_probes(self) -> None:
        while True:
            try:
                question, asker = self._probes.recvfrom(65536)
            except OSError:
                return
            assert b"NetworkVideoTransmitter" in question
            match = (
                "<e:Body><d:ProbeMatches xmlns:d='http://schemas.xmlsoap.org/ws/2005/04/discovery'>"
                "<d:ProbeMatch><d:Scopes>onvif://www.onvif.org/type/video_encoder "
                "onvif://www.onvif.org/name/Gate%20Cam%1b[31m</d:Scopes>"
                f"<d:XAddrs>http://192.0.2.9/x {self.service}</d:XAddrs></d:ProbeMatch>"
                "</d:ProbeMatches></e:Body>"
            )
            self._probes.sendto(b"\xff not XML", asker)
            for _ in range(2):  # UDP may bring an answer twice
                self._probes.sendto(SOAP.format(match).encode(), asker)

    def reply(self, body: str) -> tuple[int, str]:
        if self.user and not self.lets_in(body):
            return 400, SOAP.format("<e:Fault>ter:NotAuthorized</e:Fault>")
        if "GetCapabilities" in body:
            text = f"<Media><XAddr>{self.service}</XAddr></Media>"
        elif "GetProfiles" in body:
            sizes = {"sub": (640, 360), "main": (1920, 1080)}
            text = "".join(
                f"<Profiles token='{token}'><VideoEncoderConfiguration><Resolution>"
                f"<Width>{w}</Width>"
                f"<Height>{h}</Height></Resolution></VideoEncoderConfiguration></Profiles>"
                for token, (w, h) in sizes.items()
            )
        else:
            token = re.search("<ProfileToken>(.*)</ProfileToken>", body)
            assert token is not None
            text = f"<Uri>rtsp://u:secret@127.0.0.1:554/{token[1]}</Uri>"
        return 200, self.answer(SOAP.format(f"<e:Body>{text}</e:Body>"))

    def lets_in(self, body: str) -> bool:
        parts = {
            name: match[1]
            for name in ("Username", "Password", "Nonce", "Created")
            if (match := re.search(f"{name}[^>]*>([^<]*)</", body))
        }
        if parts.get("Username") != self.user:
            return False
        secret = base64.b64decode(parts["Nonce"]) + (parts["Created"] + self.password).encode()
        return base64.b64encode(hashlib.sha1(secret).digest()).decode() == parts["Password"]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._probes.close()


@pytest.fixture
def camera() -> Iterator[Callable[..., Onvif]]:
    started: list[Onvif] = []

    def start(*options: str) -> Onvif:
        started.append(Onvif(*options))
        return started[-1]

    yield start
    for one in started:
        one.close()


STREAMS = ["rtsp://127.0.0.1:554/main", "rtsp://127.0.0.1:554/sub"]


def test_a_camera_on_the_network_tells_its_streams_the_largest_first(
    camera: Callable[..., Onvif],
) -> None:
    (found,) = discover(1.0, group=camera().group)
    assert found == NetworkCamera(host="127.0.0.1", name="Gate Cam[31m", streams=STREAMS)


@pytest.mark.parametrize(
    ("user", "password", "problem"),
    [("", "", "--user"), ("admin", "wrong", "refuses this user"), ("admin", "s3cret", "")],
)
def test_a_camera_with_a_password(
    camera: Callable[..., Onvif], user: str, password: str, problem: str
) -> None:
    (found,) = discover(1.0, user, password, camera("admin", "s3cret").group)
    assert problem in found.problem
    assert found.streams == ([] if problem else STREAMS)


BOMB = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><x>&b;</x>"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda _: BOMB, "document type"),
        (lambda _: "hello", "something else than XML"),
        (lambda _: SOAP.format(""), "no RTSP stream"),
        (lambda text: text.replace("127.0.0.1:554", "192.0.2.1"), "no RTSP stream"),
        (lambda text: text.replace("rtsp:", "file:"), "no RTSP stream"),
        (lambda text: text.replace("<Width>1920", "<Width>x\x01"), "else than XML"),
    ],
)
def test_a_stranger_s_answers_are_not_believed(
    camera: Callable[..., Onvif], answer: Callable[[str], str], problem: str
) -> None:
    stranger = camera()
    stranger.answer = answer
    (found,) = discover(0.5, group=stranger.group)
    assert problem in found.problem
    assert found.streams == []


def test_no_encoding_hides_a_document_type() -> None:
    bomb = '<?xml version="1.0" encoding="utf-16"?>' + BOMB
    for data in (bomb.encode("utf-16"), bomb.encode("utf-8-sig"), BOMB.encode()):
        with pytest.raises(OnvifError):
            onvif._parse(data)


def test_a_stranger_who_answers_byte_by_byte_is_hung_up_on(
    camera: Callable[..., Onvif], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time, the answer as a whole does not."""
    monkeypatch.setattr(onvif, "PATIENCE", 0.5)
    sent, done = [], threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(200):
                connection.sendall(b" ")
                sent.append(1)
                time.sleep(0.1)
        done.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        stranger = camera()
        stranger.service = f"http://127.0.0.1:{server.getsockname()[1]}/"
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        (found,) = discover(0.3, group=stranger.group)
        assert done.wait(30)
    assert found.streams == []
    assert found.problem
    assert len(sent) < 150


def test_the_question_goes_out_through_the_interface_that_was_named() -> None:
    """By real multicast, which stays on this machine."""
    group = "239.255.255.250"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        member = socket.inet_aton(group) + socket.inet_aton("127.0.0.1")
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        listener.bind((group, 0))
        listener.settimeout(10)
        address = (group, listener.getsockname()[1])
        assert discover(0.1, group=address, interface="127.0.0.1") == []
        question, (asker, _) = listener.recvfrom(65536)
        assert asker == "127.0.0.1"
        assert b"NetworkVideoTransmitter" in question


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_comes_is_parsed_or_refused(data: bytes) -> None:
    with suppress(OnvifError):
        onvif._parse(data)


def test_nobody_answers() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        assert discover(0.1, group=silent.getsockname()) == []


def test_what_was_found_becomes_a_site(
    camera: Callable[..., Onvif], make_bundle: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def ask(*words: Any, interface: str) -> list[NetworkCamera]:
        return discover(*words, camera("a", "b").group, interface)

    monkeypatch.setattr(onvif, "discover", ask)
    usb = CameraDevice(device="/dev/video0", name="USB", usable=True, source="/dev/v4l/by-id/usb-x")
    locked = CameraDevice(device="/dev/video2", name="locked", usable=False, source="/dev/video2")
    monkeypatch.setattr(cameras, "attached_cameras", lambda: (usb, locked))
    bundle, password, path = make_bundle("site"), tmp_path / "password", tmp_path / "site.yaml"
    password.write_text("b\n")
    words = ["--discover", "--seconds", "1", "--user", "a", "--password-file", str(password)]
    assert main(["cameras", *words, "--write", str(path), "--pipeline", str(bundle)]) == 0
    out = capsys.readouterr().out
    assert "usermod" in out
    assert STREAMS[0] in out
    site = parse_site(path.read_text(), path).site
    assert {name: each.source for name, each in site.cameras.items()} == {
        "usb": "/dev/v4l/by-id/usb-x", "gate-cam-31m": STREAMS[0],
    }  # fmt: skip
    gate = site.cameras["gate-cam-31m"]
    assert (gate.detect_source, gate.credentials) == (STREAMS[1], "a:b")
    assert stat.S_IMODE((tmp_path / "site.credentials").stat().st_mode) == 0o600
    assert main(["cameras", "--write", str(path), "--pipeline", str(bundle)]) == 2
    assert "is not replaced" in capsys.readouterr().err
    path.unlink()
    assert main(["cameras", *words, "--write", str(path), "--pipeline", str(bundle)]) == 2
    assert "site.credentials exists" in capsys.readouterr().err


def test_no_credentials_remain_of_a_site_that_cannot_be(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usb = CameraDevice(device="/dev/video0", name="USB", usable=True, source="nowhere://x")
    monkeypatch.setattr(cameras, "attached_cameras", lambda: (usb,))
    monkeypatch.setattr(onvif, "discover", lambda *_, **__: [])
    bundle, password, path = make_bundle("site"), tmp_path / "password", tmp_path / "site.yaml"
    password.write_text("b\n")
    words = ["--discover", "--user", "a", "--password-file", str(password)]
    assert main(["cameras", *words, "--write", str(path), "--pipeline", str(bundle)]) == 2
    assert not list(tmp_path.glob("site.[yc]*"))


def test_the_list_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cameras, "attached_cameras", lambda: ())
    assert main(["cameras", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"attached": [], "network": []}
    assert main(["cameras"]) == 0
    assert "--discover" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--write", "x.yaml"], "--pipeline"),
        (["--user", "a"], "--discover"),
        (["--interface", "127.0.0.1"], "--discover"),
        (["--discover", "--interface", "192.0.2.1"], "through 192.0.2.1"),
        (["--discover", "--interface", "eth0"], "through eth0"),
        (["--seconds", "0"], "above 0"),
        (["--seconds", "inf"], "300 at most"),
        (["--write", "x.yaml", "--pipeline", "gone.edge"], "gone.edge: no such bundle"),
        (["--write", "x.yaml", "--pipeline", "gone.yaml"], "gone.yaml: there is no such pipeline"),
        (["--write", "/no/x.yaml", "--pipeline", "gone.edge"], "/no: make it first"),
        (["--discover", "--user", "a:b"], "colon"),
        (["--discover", "--user", "a", "--password-file", "/dev/zero"], "not a settings file"),
        (["--discover", "--user", "a", "--password-file", "/no/file"], "/no/file"),
    ],
)
def test_what_cannot_be_meant(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cameras", *words]) == 2
    assert says in capsys.readouterr().err


def test_names_are_told_apart() -> None:
    same = [NetworkCamera(host="h", name="Cam", streams=["rtsp://h/1"]) for _ in range(3)]
    assert list(site_entries((), same, "x.edge")) == ["cam", "cam-2", "cam-3"]
