"""What a webhook posts, and whom it believes."""

import contextlib
import hashlib
import hmac
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgecnn_runtime.errors import ConfigError, SinkDownError
from edgecnn_runtime.sinks.events import SinkConfig, SinkContext, open_event_sink
from edgecnn_runtime.sinks.events.webhook import signature
from edgecnn_runtime.types import Event

MakeEvent = Callable[..., Event]
SECRET = "correct-horse-battery"


class Server:
    """Answers each POST with what stands in ``answers``, the last of them for ever."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = [(204, {}, b"")]
        self.connections = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), body))
                rest = len(outer.answers) > 1
                status, headers, content = outer.answers.pop(0) if rest else outer.answers[0]
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *words: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


def open_sink(folder: Path, **settings: Any) -> Any:
    context = SinkContext("hook", folder, folder)
    sink = open_event_sink(msgspec.convert({"kind": "webhook", **settings}, SinkConfig), context)
    sink.start()
    return sink


def test_a_batch_is_signed(server: Server, tmp_path: Path, make_event: MakeEvent) -> None:
    """As docs/events.md tells whoever checks it."""
    headers = {"Authorization": "Bearer abc"}
    url = f"http://127.0.0.1:{server.port}/hook?a=1"
    sink = open_sink(tmp_path, url=url, secret=SECRET, headers=headers)
    sink.deliver([make_event(1), make_event(2)])
    sink.deliver([make_event(3)])
    sink.close()
    path, sent, body = server.requests[0]
    assert path == "/hook?a=1"
    assert sent["Authorization"] == "Bearer abc"
    assert [int(event["id"], 16) for event in json.loads(body)["events"]] == [1, 2]
    parts = dict(part.split("=") for part in sent["X-Edgecnn-Signature"].split(","))
    digest = hmac.new(SECRET.encode(), parts["t"].encode() + b"." + body, hashlib.sha256)
    assert hmac.compare_digest(parts["v1"], digest.hexdigest())
    assert server.connections == 1
    assert SECRET.encode() not in body


def test_a_signature_is_what_it_was() -> None:
    """Who checks it has a program of his own."""
    header = signature(b"key", b"{}", at=1764230400.9)["X-Edgecnn-Signature"]
    digest = "06c7f3b7fab8025e5f558a0d64947f406288014c088ebea6e6ae9e89c72a9643"
    assert header == f"t=1764230400,v1={digest}"
    assert signature(b"", b"{}") == {}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(
    server: Server, tmp_path: Path, make_event: MakeEvent, status: int
) -> None:
    other = Server()
    server.answers = [(status, {"Location": f"http://127.0.0.1:{other.port}/"}, b"")]
    sink = open_sink(tmp_path, url=f"http://127.0.0.1:{server.port}/", secret=SECRET)
    with pytest.raises(SinkDownError, match="redirect"):
        sink.deliver([make_event(1)])
    assert other.requests == []
    other.close()


def test_a_connection_that_the_server_has_closed_is_opened_again(
    server: Server, tmp_path: Path, make_event: MakeEvent
) -> None:
    sink = open_sink(tmp_path, url=f"http://127.0.0.1:{server.port}/")
    server.answers = [(200, {"Connection": "close"}, b"")] * 3
    for number in range(3):
        sink.deliver([make_event(number)])
    assert len(server.requests) == 3


def test_what_a_server_says_of_a_failure_is_not_repeated(
    tmp_path: Path, make_event: MakeEvent
) -> None:
    """It may say what it was sent, or something for the terminal that shows the log."""
    answer = f"HTTP/1.1 401 not {SECRET} \x1b[2J\r\nContent-Length: 0\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        threading.Thread(target=refuse, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        sink = open_sink(tmp_path, url=url, headers={"Authorization": SECRET}, timeout=10)
        with pytest.raises(SinkDownError, match=r"answered 401 Unauthorized$"):
            sink.deliver([make_event(1)])
        sink.close()


@pytest.mark.parametrize("content", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n"])
def test_whatever_answers_it_is_no_crash(
    tmp_path: Path, make_event: MakeEvent, content: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(content)

        threading.Thread(target=answer, daemon=True).start()
        port = listener.getsockname()[1]
        sink = open_sink(tmp_path, url=f"http://127.0.0.1:{port}/?k={SECRET}", timeout=2)
        with pytest.raises(SinkDownError) as caught:
            sink.deliver([make_event(1)])
        assert SECRET not in str(caught.value)


def test_a_server_that_does_not_answer_is_down(tmp_path: Path, make_event: MakeEvent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        sink = open_sink(tmp_path, url=url, timeout=0.2)
        with pytest.raises(SinkDownError, match="no answer in time"):
            sink.deliver([make_event(1)])


def test_only_a_certificate_that_is_trusted_is_believed(
    tmp_path: Path, make_event: MakeEvent, certificate: tuple[Path, Path]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = Server(context)
    url = f"https://127.0.0.1:{server.port}/"
    with pytest.raises(SinkDownError, match="certificate is not valid"):
        open_sink(tmp_path, url=url).deliver([make_event(1)])
    assert server.requests == []
    open_sink(tmp_path, url=url, tls={"ca": str(certificate[0])}).deliver([make_event(1)])
    assert len(server.requests) == 1
    server.close()


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"url": "ftp://a/"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://a:99999/"}, "url"),
        ({"url": f"https://me:{SECRET}@a/"}, "url"),
        ({"url": "http://a/", "headers": {"X": f"{SECRET}\r\nY: 1"}}, "headers"),
        ({"url": "https://a/", "tls": {"ca": "absent"}}, "tls.ca"),
        ({"url": "https://a/", "tls": {"certificate": "empty"}}, "tls.certificate"),
    ],
)
def test_settings_that_cannot_be_right_are_named(
    tmp_path: Path, settings: dict[str, Any], key: str
) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigError) as caught:
        open_sink(tmp_path, **settings)
    assert str(caught.value).startswith(f"sinks.hook.{key}")
    assert SECRET not in str(caught.value)


def test_a_key_of_another_certificate_is_named(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    import subprocess

    other = tmp_path / "other.pem"
    subprocess.run(["openssl", "genrsa", "-out", other, "2048"], check=True, capture_output=True)
    tls = {"certificate": str(certificate[0]), "key": str(other)}
    with pytest.raises(ConfigError, match="does not belong to this certificate"):
        open_sink(tmp_path, url="https://a/", tls=tls)


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"])
def test_a_server_that_answers_byte_by_byte_is_left_in_time(
    tmp_path: Path, make_event: MakeEvent, begin: bytes
) -> None:
    """Each byte comes long before the time-out; all of them would take hours."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(begin)
                while not stop.wait(0.02):
                    connection.sendall(b"H")

        server = threading.Thread(target=trickle, daemon=True)
        server.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        sink = open_sink(tmp_path, url=url, timeout=0.5)
        failures: list[str] = []

        def deliver() -> None:
            try:
                sink.deliver([make_event(1)])
            except SinkDownError as error:
                failures.append(str(error))

        delivery = threading.Thread(target=deliver, daemon=True)
        delivery.start()
        delivery.join(30)
        stop.set()
        assert not delivery.is_alive(), "it waits for ever"
        server.join(30)
    assert failures[0].endswith("no answer in time")
    sink.close()


def test_an_answer_has_all_of_its_time_on_a_connection_that_was_used(
    server: Server, tmp_path: Path, make_event: MakeEvent
) -> None:
    sink = open_sink(tmp_path, url=f"http://127.0.0.1:{server.port}/", timeout=30)
    for number in range(2):
        sink.deliver([make_event(number)])
        assert sink._connection.sock.gettimeout() > 20
    sink.close()
    assert server.connections == 1
