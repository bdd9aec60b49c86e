"""Starting and stopping: ports, certificates, and what is missing."""

import resource
import select
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

pytest.importorskip("uvicorn", reason="needs the serve extra")
import httpx

from edgecnn_runtime.errors import BackendMissingError, UsageError
from edgecnn_runtime.web import server as module
from edgecnn_runtime.web.fake import FakeOperations
from edgecnn_runtime.web.server import CONNECTIONS, WebServer, listen
from edgecnn_runtime.web.settings import WebSettings
from edgecnn_runtime.web.tls import tls_context

if TYPE_CHECKING:
    from edgecnn_runtime.web.tokens import Tokens


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pairs, one.pem and one.key, two.pem and two.key, and a locked key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "two"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
            check=True, capture_output=True,
        )  # fmt: skip
    subprocess.run(
        ["openssl", "pkey", "-in", folder / "one.key", "-aes256", "-passout", "pass:word",
         "-out", folder / "locked.key"], check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_a_port_in_use_is_named(serve: Callable[..., WebServer]) -> None:
    port = int(serve().address.rstrip("/").rpartition(":")[2])
    with pytest.raises(UsageError, match=rf"127\.0\.0\.1:{port} .*another program"):
        listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(UsageError, match=r"192\.0\.2\.7:0 .*no address of this machine"):
        listen("192.0.2.7", 0)


def test_https_with_a_certificate(
    serve: Callable[..., WebServer], certificates: Path, tokens: "Tokens"
) -> None:
    server = serve(certificate=certificates / "one.pem", key=certificates / "one.key")
    assert server.address.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=str(certificates / "one.pem"))
    with httpx.Client(verify=context, base_url=server.address) as client:
        assert client.get("healthz").status_code == 200
        headers = {"X-Edgecnn": "1"}
        answer = client.post("login", data={"token": tokens.viewer}, headers=headers)
        assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("one.pem", "two.key", r"two\.key: is not the key of the certificate .*one\.pem"),
        ("one.pem", "gone.key", r"gone\.key: cannot be read: No such file"),
        ("gone.pem", "one.key", r"gone\.pem: cannot be read"),
        ("one.pem", "locked.key", r"locked\.key: has a password"),
        ("one.key", "one.key", r"cannot be used for TLS"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named(
    certificates: Path, certificate: str, key: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        tls_context(certificates / certificate, certificates / key)


def test_a_missing_package_is_named(
    operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "starlette" else name)
    with pytest.raises(BackendMissingError, match=r"needs starlette, .*pip install"):
        WebServer(operations, WebSettings(port=0, auth=False), None)


def test_it_stops_soon_and_frees_its_port(serve: Callable[..., WebServer]) -> None:
    server = serve()
    port = int(server.address.rstrip("/").rpartition(":")[2])
    with httpx.Client(base_url=server.address) as client:  # a connection that stays open
        client.get("healthz")
        began = time.monotonic()
        server.stop()
        server.stop()
        assert time.monotonic() - began < 10, "not hung"
    assert not server.alive
    listen("127.0.0.1", port).close()


def test_nobody_holds_all_connections(server: WebServer) -> None:
    """Each is a file of the daemon, and without one left it stores no event."""
    port = urlsplit(server.address).port
    with ExitStack() as stack:
        greedy = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            for _ in range(CONNECTIONS + 50)
        ]
        other = httpx.HTTPTransport(local_address="127.0.0.2")
        client = stack.enter_context(httpx.Client(transport=other, timeout=20))
        assert client.get(f"{server.address}healthz").status_code == 200
        closed = [each for each in greedy if select.select([each], [], [], 0)[0]]
        assert len(greedy) - len(closed) == CONNECTIONS // 2


def test_handshakes_that_never_end_leave_files_to_others(
    serve: Callable[..., WebServer], certificates: Path
) -> None:
    server = serve(certificate=certificates / "one.pem", key=certificates / "one.key")
    port = urlsplit(server.address).port
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, limits[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        closed = 0
        for _ in range(300):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            closed += bool(select.select([silent], [], [], 0.005)[0])
        assert closed > 0
        assert server.alive


def test_a_connection_that_asks_nothing_is_closed(
    serve: Callable[..., WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.2)
    port = int(serve().address.rstrip("/").rpartition(":")[2])
    for beginning in (b"", b"GET /healthz HTTP/1.1\r\nHost: local"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(beginning)
            assert connection.recv(100) == b""
