"""Thousands of bad inputs: does anything crash, show a traceback to a client, or tell a password?

Configurations: a site.yaml with passwords, changed at random places, through `serve --check`.
HTTP: requests made from the API's own document, right and wrong ones, and bytes that are no
request, to a daemon that serves a camera; as an operator, a viewer and nobody.
Streams: MPEG-TS, Motion JPEG and RTSP with random damage, read as a camera with a password is.

Whatever is done happens in a process of its own, so that a crash is counted and not suffered.
Counted are crashes and errors that are no answer (`crashes`), answers, messages and lines of the
log with a traceback (`tracebacks`), and those with a password or token in them (`leaks`).
"""

import contextlib
import io
import itertools
import logging
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from lib.experiment import Experiment, Options, Row, main
from lib.fresh_process import in_fresh_process
from lib.material import export_yunet, video_frames
from requests.adapters import HTTPAdapter

from edgecnn.cli import main as edgecnn
from edgecnn_bench.soak.daemon_process import DaemonProcess, free_port
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.source import open_source

CONFIGURATIONS, REQUESTS, NO_REQUESTS, STREAMS = 3000, 1400, 400, 400
QUICK = 30
"""Part of all of them that a short try makes."""
CLIENTS = 40
"""Addresses of this machine that requests come from."""
BATCH = 500
"""Inputs per process."""
SECRETS = ("cam3ra-pa55", "cr3dential5", "br0ker-pa55", "h00k-5ecret", "h00k-t0ken")
SITE = """\
cameras:
  gate: {{source: "rtsp://admin:cam3ra-pa55@127.0.0.1:9/main", pipeline: {bundle}, rate: 5}}
  yard:
    source: rtsp://127.0.0.1:9/yard
    credentials: admin:cr3dential5
    pipeline: {bundle}
    zones: {{lane: [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]}}
    lines: {{door: [[0.2, 0.5], [0.8, 0.5]]}}
    mask: [[[0, 0], [0.1, 0], [0, 0.1]]]
rules:
  - {{when: entered, camera: yard, zone: lane, min_score: 0.5}}
  - {{when: crossed, line: door, schedule: {{days: [mon], from: "06:00", to: "22:00"}}}}
sinks:
  log: {{kind: jsonl, file: events.jsonl, daily: true, max_size: 100MB}}
  home: {{kind: mqtt, host: 127.0.0.1, port: 9, username: me, password: br0ker-pa55}}
  hook:
    kind: webhook
    url: https://127.0.0.1:9/hook
    secret: h00k-5ecret
    headers: {{Authorization: Bearer h00k-t0ken}}
http: {{listen: "127.0.0.1:0", streams: 4}}
keep: {{days: 30, disk: 10GB, frame_size: 1280}}
privacy: {{blur: none}}
timezone: Europe/Berlin
state: state
"""
NASTY = (
    "null", "true", "-1", "1e999", ".nan", "''", "[]", "{}", "[[]]", "~", "!!python/name:os.system",
    "&a [*a]", "*b", "'\\0'", '"\\x1b[31m"', "99999999999999999999", "../../../etc/passwd",
    "rtsp://u:cam3ra-pa55@", "{file: state/operator.token}", "{file: /etc/hostname}", "a" * 300,
    "gst:filesrc", "0x41", "2026-13-45", "\u202e", "- -", "? a", "<<: 1",
)  # fmt: skip
"""Values in place of others."""


Outcome = dict[str, Any]
"""Of a batch: ``counts`` by what came of an input, and ``examples`` of what is wrong."""


def measure(options: Options) -> Iterator[Row]:
    """Each kind of input."""
    part = QUICK if options.quick else 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export_yunet(folder, video_frames(60))
        count = CONFIGURATIONS // part
        yield row("configurations", in_batches(check_configurations, count, name, str(bundle)))
        yield row("HTTP requests", serve_requests(folder, bundle, part))
        yield row("streams", in_batches(read_streams, STREAMS // part))


def row(what: str, outcomes: Sequence[Outcome]) -> Row:
    """How many inputs, and what came of them."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome["counts"])
    wrong = {name: counts.pop(name, 0) for name in ("crashes", "tracebacks", "leaks")}
    examples = list(itertools.chain(*(outcome["examples"] for outcome in outcomes)))[:20]
    return {
        "what": what, "inputs": counts.total(), **wrong, "value": sum(wrong.values()), "goal": 0,
        "unit": "", "outcomes": dict(counts), "examples": examples,
    }  # fmt: skip


def in_batches(function: Callable[..., Outcome], count: int, *more: Any) -> list[Outcome]:
    """Call ``function(first, last, …)`` in processes of its own, for so many inputs."""
    outcomes = []
    for first in range(0, count, BATCH):
        last = min(first + BATCH, count)
        try:
            outcomes.append(in_fresh_process(function, first, last, *more))
        except subprocess.CalledProcessError as error:
            example = f"{function.__name__} {first} to {last}: code {error.returncode}"
            counts = {"the process ended": last - first, "crashes": 1}
            outcomes.append({"counts": counts, "examples": [example]})
    return outcomes


class From(HTTPAdapter):
    """Connects from another address of this machine: the daemon limits the requests of each."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *words: Any, **options: Any) -> None:
        """As the parent does, from this address."""
        super().init_poolmanager(*words, source_address=(self._address, 0), **options)


class Judge:
    """Counts what came of inputs."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self._counts: Counter[str] = Counter()
        self._examples: list[str] = []

    def count(self, kind: str) -> None:
        """An input, and what came of it."""
        self._counts[kind] += 1

    def crash(self, words: str) -> None:
        """Something that is no answer."""
        self._counts["crashes"] += 1
        self._examples.append(f"crash: {words}")

    def look(self, text: str, words: str) -> None:
        """Look into what somebody was told; ``words`` name the input."""
        for secret in self._secrets:
            if secret in text:
                self._counts["leaks"] += 1
                self._examples.append(f"{secret!r} after {words}: {text[:400]!r}")
        if "Traceback (most" in text:
            self._counts["tracebacks"] += 1
            self._examples.append(f"traceback after {words}: {text[-400:]!r}")

    def outcome(self) -> Outcome:
        """All of it."""
        return {"counts": dict(self._counts), "examples": self._examples[:20]}


# Configurations


def check_configurations(first: int, last: int, name: str, bundle: str) -> Outcome:
    """`serve --check` of changed files; each in the folder of the right one."""
    judge, path = Judge(SECRETS), Path(name) / "changed.yaml"
    original = SITE.format(bundle=bundle)
    for number in range(first, last):
        path.write_bytes(changed(original, random.Random(number)))  # noqa: S311  (no secret)
        output = io.StringIO()
        flags = ["--json"] if number % 2 else []
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            try:
                judge.count(f"code {edgecnn(['serve', '--check', *flags, str(path)])}")
            except SystemExit as end:
                judge.count(f"code {end.code}")
            except BaseException as error:
                judge.count("no answer")
                judge.crash(f"configuration {number}: {type(error).__name__}: {error}")
        judge.look(output.getvalue(), f"configuration {number}")
    return judge.outcome()


def changed(text: str, chance: random.Random) -> bytes:
    """A text with one to four changes; sometimes bytes that are no text."""
    for _ in range(chance.randint(1, 4)):
        lines = text.splitlines(keepends=True)
        at = chance.randrange(len(lines))
        kind = chance.randrange(7)
        if kind == 0:
            lines.pop(at)
        elif kind == 1:
            lines.insert(at, lines[chance.randrange(len(lines))])
        elif kind == 2:  # another value
            key, colon, _ = lines[at].partition(": ")
            lines[at] = f"{key}{colon}{chance.choice(NASTY)}\n"
        elif kind == 3:  # another indentation
            lines[at] = " " * chance.randrange(9) + lines[at].lstrip()
        elif kind == 4:  # a letter of a name
            place = chance.randrange(len(lines[at]))
            lines[at] = (
                lines[at][:place]
                + chance.choice("abz:{}[]#&*!|>%@`'\",-? ")
                + (lines[at][place + 1 :])
            )
        elif kind == 5:  # a word elsewhere
            words = lines[at].split(" ")
            words.insert(chance.randrange(len(words) + 1), chance.choice(NASTY))
            lines[at] = " ".join(words)
        else:
            lines = lines[: at + 1]
        text = "".join(lines) or "\n"
    data = bytearray(text.encode(errors="surrogatepass"))
    if chance.random() < 0.1:
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


# HTTP


def serve_requests(folder: Path, bundle: Path, part: int) -> list[Outcome]:
    """A daemon with a camera, and clients that do not mean well."""
    clip, port, log = folder / "clip.mp4", free_port(), folder / "daemon.log"
    write_squares(clip)
    (folder / "served").mkdir()
    file = folder / "served" / "site.yaml"
    site = {
        "cameras": {
            "gate": {"source": str(clip), "pipeline": str(bundle), "loop": True, "rate": 2}
        },
        "sinks": {"hook": {"kind": "webhook", "url": "https://127.0.0.1:9/", "secret": SECRETS[3]}},
        "http": {"listen": f"127.0.0.1:{port}"},
        "state": "state",
    }
    file.write_text(yaml.safe_dump(site))
    state = folder / "served" / "state"
    state.mkdir(mode=0o700)
    with DaemonProcess(file, state, port, log=log) as daemon:
        viewer = (state / "viewer.token").read_text().strip()
        judge = Judge([*SECRETS, daemon.token, viewer])
        ask_by_document(daemon.address, [daemon.token, viewer, ""], judge, REQUESTS // part)
        for number in range(NO_REQUESTS // part):
            answer = send_bytes(port, no_request(random.Random(number)))  # noqa: S311
            judge.count("no request: " + (answer[9:12].decode(errors="replace") or "hung up"))
            if answer[9:12] == b"500":
                judge.crash(f"no request {number}: {answer[:200]!r}")
            judge.look(answer.decode(errors="replace"), f"no request {number}")
        try:
            daemon.check()
            daemon.cameras()
        except EdgecnnError as error:
            judge.crash(f"the daemon: {error}")
        daemon.stop()
    judge.look(log.read_text(errors="replace"), "all requests, in the log")
    return [judge.outcome()]


def ask_by_document(address: str, tokens: Sequence[str], judge: Judge, count: int) -> None:
    """Requests that the API's document makes, right and wrong ones, with each token or none."""
    header = {"Authorization": f"Bearer {tokens[0]}"}
    document = httpx.get(f"{address}/api/openapi.json", headers=header).json()
    schema = schemathesis.openapi.from_dict(document)
    operations = [
        each.ok() for each in schema.get_all_operations() if "stream" not in each.ok().path
    ]
    operations = [each for each in operations if each.path != "/api/live"]  # they do not end
    modes = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    each_has = max(1, count // (len(operations) * len(modes)))
    turn, sessions = itertools.cycle(tokens), itertools.cycle(map(session_from, range(CLIENTS)))
    for operation, mode in itertools.product(operations, modes):
        cases = operation.as_strategy(generation_mode=mode)
        with contextlib.suppress(Unsatisfiable):  # there is no wrong way to ask for some things
            ask(cases, address, turn, sessions, judge=judge, count=each_has)


def session_from(number: int) -> requests.Session:
    """A client of its own."""
    session = requests.Session()
    session.mount("http://", From(f"127.0.1.{number + 1}"))
    return session


def ask(
    cases: Any,
    address: str,
    tokens: Iterator[str],
    sessions: Iterator[requests.Session],
    *,
    judge: Judge,
    count: int,
) -> None:
    """So many requests to one endpoint."""

    @given(case=cases)
    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @seed(1)
    def send(case: Any) -> None:
        token = next(tokens)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        words = f"{case.method} {case.formatted_path}"
        answer = case.call(base_url=address, headers=headers, timeout=30, session=next(sessions))
        judge.count(f"document: {answer.status_code}")
        if answer.status_code == 500:
            judge.crash(f"{words}: {answer.text[:200]}")
        judge.look(f"{answer.headers} {answer.text}", words)

    send()


def no_request(chance: random.Random) -> bytes:
    """Bytes that are no request, or hardly one."""
    path = chance.choice(
        ["/api/events", "/healthz", "/", "/../../etc/passwd", "/%2e%2e/state/operator.token",
         "/api/cameras/%00", "//", "/api/events?limit=" + "9" * 5000, "*", "/\xff"]
    )  # fmt: skip
    lines = [f"{chance.choice(['GET', 'PUT', 'POST', 'DELETE', 'BREW', ''])} {path} HTTP/1.1"]
    for _ in range(chance.randrange(5)):
        lines.append(chance.choice(
            ["Host: 127.0.0.1", "Host: evil.example", "Content-Length: -1", "Content-Length: 99999",
             "Transfer-Encoding: chunked", "Authorization: Bearer " + "x" * 9000, "Range: bytes=-",
             "Authorization: Basic AAAA", "Cookie: session=\0\x7f", "Upgrade: websocket",
             "Connection: Upgrade", "Content-Type: application/json", "X" * 70000, ": no name"]
        ))  # fmt: skip
    data = "\r\n".join([*lines, "", ""]).encode("latin-1")
    data += chance.randbytes(chance.randrange(200)) if chance.random() < 0.5 else b""
    if chance.random() < 0.3:
        return data[: chance.randrange(len(data))]
    return chance.randbytes(chance.randrange(1, 500)) if chance.random() < 0.2 else data


def send_bytes(port: int, data: bytes) -> bytes:
    """What a server answers until it hangs up, or has nothing more to say."""
    answer = b""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
    ):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(1 << 16):
            answer += part
    return answer


def write_squares(path: Path) -> None:
    """A small clip."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5.0, (320, 240))
    for number in range(20):
        pixels = np.full((240, 320, 3), 40, np.uint8)
        pixels[80:160, 10 * number : 10 * number + 80] = 220
        writer.write(pixels)
    writer.release()


# Streams


def read_streams(first: int, last: int) -> Outcome:
    """Streams with damage, each read as a camera with a password."""
    judge, log = Judge(SECRETS), io.StringIO()
    logging.basicConfig(stream=log, level=logging.DEBUG)
    kinds: tuple[Callable[[random.Random], bytes], ...] = (
        damaged_video, damaged_pictures, damaged_rtsp,
    )  # fmt: skip
    for number in range(first, last):
        data = kinds[number % 3](random.Random(number))  # noqa: S311  (no secret)
        scheme, end = ("rtsp", "/cam") if number % 3 == 2 else ("http", "/live.ts")
        with answering(data) as port:
            url = f"{scheme}://admin:{SECRETS[0]}@127.0.0.1:{port}{end}"
            outcome = "it was refused"
            try:
                with open_source(url, open_timeout=3.0, read_timeout=3.0) as source:
                    outcome = "it was opened"
                    for _ in itertools.islice(source, 100):
                        outcome = "it showed something"
            except EdgecnnError as error:
                judge.look(str(error), f"stream {number}")
            except BaseException as error:
                outcome = "no answer"
                judge.crash(f"stream {number}: {type(error).__name__}: {error}")
            judge.count(outcome)
    judge.look(log.getvalue(), f"streams {first} to {last}, in the log")
    return judge.outcome()


def damaged_video(chance: random.Random) -> bytes:
    """H.264 in MPEG-TS with wrong, missing and doubled bytes."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(15):
            pixels = np.full((120, 160, 3), 15 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode(None))
    return damaged(out.getvalue(), chance)


def damaged_pictures(chance: random.Random) -> bytes:
    """Motion JPEG, the same."""
    parts = []
    for number in range(8):
        pixels = np.full((120, 160, 3), 30 * number, np.uint8)
        jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        parts.append(head.encode() + jpeg + b"\r\n")
    return b"\0MJPEG" + damaged(b"".join(parts), chance)


def damaged_rtsp(chance: random.Random) -> bytes:
    """Answers of an RTSP server to all that it is asked, and packets of a stream, damaged."""
    description = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
        "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:one\r\n"
    )
    common = "RTSP/1.0 200 OK\r\nCSeq: {}\r\n"
    answers = [
        common.format(1) + "Public: DESCRIBE, SETUP, PLAY\r\n\r\n",
        common.format(2) + "Content-Type: application/sdp\r\nContent-Length: "
        f"{len(description)}\r\n\r\n{description}",
        common.format(3) + "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
        common.format(4) + "Session: 1\r\n\r\n",
    ]
    packets = b""
    for number in range(40):
        body = bytes([0x65 if number % 5 == 0 else 0x41]) + chance.randbytes(300)
        packet = struct.pack("!BBHII", 0x80, 0xE0, number, 3600 * number, 1) + body
        packets += struct.pack("!BBH", 0x24, 0, len(packet)) + packet
    return b"\0RTSP" + damaged("".join(answers).encode() + packets, chance)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """One to thirty places of some bytes wrong, missing or twice."""
    content = bytearray(data)
    for _ in range(chance.randint(1, 30)):
        at = chance.randrange(len(content))
        kind = chance.randrange(4)
        if kind == 0:
            content[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del content[at : at + chance.randrange(1, 200)]
        elif kind == 2:
            content[at:at] = content[at : at + chance.randrange(1, 200)]
        else:
            content[at : at + 4] = chance.randbytes(4)
        if len(content) < 10:
            break
    return bytes(content)


@contextlib.contextmanager
def answering(data: bytes) -> Iterator[int]:
    """A server on loopback that says this to everybody, and hangs up."""
    if data.startswith(b"\0RTSP"):
        data, head = data[5:], b""
    else:
        kind = "multipart/x-mixed-replace; boundary=frame" if data[:1] == b"\0" else "video/mp2t"
        data = data.removeprefix(b"\0MJPEG")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:  # closed
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(3.0)
                    connection.recv(1 << 16)
                    connection.sendall(head + data)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 16):
                        pass

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """What came of the inputs, and what is wrong."""
    yield f"{sum(row['inputs'] for row in rows):,} inputs"
    for each in rows:
        outcomes = sorted(each["outcomes"].items(), key=lambda item: -item[1])
        yield f"{each['what']}: " + ", ".join(f"{count:,} {kind}" for kind, count in outcomes)
        yield from each["examples"]


if __name__ == "__main__":
    experiment = Experiment(
        name="bad_inputs",
        title="thousands of bad inputs",
        measure=measure,
        notes=notes,
        columns={
            "": "{what}",
            "inputs": "{inputs:,}",
            "crashes": "{crashes}",
            "tracebacks": "{tracebacks}",
            "credentials told": "{leaks}",
        },
        facts={"secrets": len(SECRETS)},
    )
    sys.exit(main(__doc__, experiment))
