"""Cameras: an RTSP server whose pictures carry a counter; run by the system's python3.

    /usr/bin/python3 rtsp_server.py --fps 15 --size 320x240
    /usr/bin/python3 rtsp_server.py --file clip.mp4                   an H.264 video, once
    /usr/bin/python3 rtsp_server.py --loop gate=a.mp4 --loop yard=b.mp4   videos, again and again

Prints `port N` once it listens, then a line per picture: `COUNTER SECONDS`, when the picture was
made on CLOCK_MONOTONIC, which is the same for every process. Of a loop it is `NAME COUNTER
SECONDS`, with the number of the picture in its video. The counter is a row of 16 squares across
the middle, most significant bit first, white for one. With --bars the ground is 16 vertical bars of
gray that are different in each picture: see ``bars``.
"""

import argparse
import itertools
import math
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402  (after their versions)

BITS = 16
READ_VIDEO = (
    'filesrc location="{}" ! qtdemux ! h264parse config-interval=-1 '
    "! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
)
"""An MP4's pictures as they are encoded, one buffer each."""


def live_factory(
    caps: str,
    encoder: str,
    fps: float,
    pictures: Iterator[bytes],
    announce: Callable[[float], None],
    *,
    smaller: tuple[int, str] = (0, ""),
) -> Any:
    """A live picture that every client shares.

    Args:
        caps: Of what ``pictures`` yields.
        encoder: The rest of the pipeline, which ends in pay0.
        fps: Pictures per second.
        pictures: Never ends. It goes on where it was when somebody looks again.
        announce: Called with the time of each picture.
        smaller: Bytes of a picture of another size, and its caps.

    Returns:
        The RTSPMediaFactory.
    """
    rate = f",framerate={round(1000 * fps)}/1000"

    def begin(_factory: Any, media: Any) -> None:
        source = media.get_element().get_by_name("source")
        playing, over = threading.Event(), threading.Event()
        asks = source.connect("need-data", lambda *_: playing.set())
        media.connect("unprepared", lambda _: end(playing, over))
        threading.Thread(target=film, args=(source, asks, playing, over), daemon=True).start()

    def end(playing: threading.Event, over: threading.Event) -> None:
        over.set()
        playing.set()

    def film(source: Any, asks: int, playing: threading.Event, over: threading.Event) -> None:
        # Not before it plays: a picture that comes while it is started may be stamped with the
        # machine's uptime, and then nothing is sent until the stream is as old as that.
        playing.wait()
        source.disconnect(asks)
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            data = next(pictures)
            if len(data) == smaller[0]:
                source.set_property("caps", Gst.Caps.from_string(smaller[1] + rate))
            buffer = Gst.Buffer.new_wrapped(data)
            at = time.monotonic()
            source.emit("push-buffer", buffer)
            announce(at)
            due += 1 / fps

    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.connect("media-configure", begin)
    factory.set_launch(
        "( appsrc name=source is-live=true format=time do-timestamp=true "
        f"caps={caps}{rate} ! {encoder} )"
    )
    return factory


def filming(
    width: int, height: int, fps: float, encoder: str, *, with_bars: bool, resize: float
) -> Any:
    """A camera that films a counter.

    Args:
        width: In pixels.
        height: In pixels.
        fps: Pictures per second.
        encoder: The pipeline's end, with pay0.
        with_bars: Whether the ground is different in each picture.
        resize: Number of the picture from which on they have half the width and height.
    """
    counter = itertools.count()
    numbers = itertools.count()
    half = (width // 2, height // 2)
    pictures = (
        picture(number, *((width, height) if number < resize else half), with_bars)
        for number in numbers
    )
    return live_factory(
        raw_caps(width, height), encoder, fps, pictures,
        lambda at: announce(f"{next(counter)}", at),
        smaller=(len(picture(0, *half, False)), raw_caps(*half)),
    )  # fmt: skip


def raw_caps(width: int, height: int) -> str:
    """What GStreamer calls the pictures of a counter."""
    return f"video/x-raw,format=I420,width={width},height={height}"


def looping(name: str, path: str, fps: float) -> Any:
    """A camera that shows an H.264 MP4 without B-frames again and again.

    Args:
        name: Printed beside the number of each picture.
        path: Of the video.
        fps: Pictures per second, whatever the file says.
    """
    encoded = read_video(path)
    if not encoded:
        sys.exit(f"{path}: no H.264 pictures in it")
    numbers = itertools.cycle(range(len(encoded)))
    pictures = itertools.cycle(encoded)
    caps = "video/x-h264,stream-format=byte-stream,alignment=au"
    payload = "rtph264pay name=pay0 pt=96"
    return live_factory(
        caps, payload, fps, pictures, lambda at: announce(f"{name} {next(numbers)}", at)
    )


def read_video(path: str) -> list[bytes]:
    """The encoded pictures of an H.264 MP4, in the order of the file."""
    pipeline = Gst.parse_launch(READ_VIDEO.format(path))
    sink = pipeline.get_by_name("sink")
    pipeline.set_state(Gst.State.PLAYING)
    encoded = []
    while (sample := sink.emit("pull-sample")) is not None:
        buffer = sample.get_buffer()
        encoded.append(bytes(buffer.extract_dup(0, buffer.get_size())))
    pipeline.set_state(Gst.State.NULL)
    return encoded


def announce(words: str, at: float) -> None:
    """Print a line in one piece: cameras print at the same time."""
    sys.stdout.write(f"{words} {at:.6f}\n")
    sys.stdout.flush()


def picture(counter: int, width: int, height: int, with_bars: bool) -> bytes:
    """A ground and the counter's squares, as I420."""
    side = width // BITS
    bits = [b"\xeb" if counter >> bit & 1 else b"\x10" for bit in range(BITS - 1, -1, -1)]
    row = b"".join(bit * side for bit in bits).ljust(width, b"\x80")
    top = (height - side) // 2
    ground = bars(counter, width) if with_bars else b"\x80" * width
    luma = ground * top + row * side + ground * (height - top - side)
    return luma + b"\x80" * (width * height // 2)


def bars(counter: int, width: int) -> bytes:
    """A row of a ground that tells whether a picture is whole: random bars, from the counter."""
    grays = random.Random(counter).choices(range(32, 224), k=BITS)  # noqa: S311  (no secret)
    return b"".join(bytes([gray]) * (width // BITS) for gray in grays).ljust(width, b"\x80")


def sound() -> Any:
    """An intercom: no picture."""
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch("( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )")
    return factory


def player(path: str) -> Any:
    """Plays an H.264 MP4 once, at its own pace."""
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( filesrc location="{path}" ! qtdemux ! h264parse ! rtph264pay name=pay0 )'
    )
    return factory


def protect(server: Any, camera: Any, user: str, password: str) -> None:
    """Let only this user in."""
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth = GstRtspServer.RTSPAuth()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    camera.set_permissions(permissions)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0", help="0: any that is free")
    parser.add_argument("--fps", type=float, default=15)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--file", default="")
    parser.add_argument("--loop", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--sound", action="store_true", help="an intercom instead")
    parser.add_argument("--bars", action="store_true")
    parser.add_argument("--resize", type=float, default=math.inf, help="half the size from N on")
    parser.add_argument("--encoder", default="", help="the pipeline's end, with pay0")
    parser.add_argument("--only", choices=("TCP", "UDP"), help="the one transport it offers")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    if options.loop:
        pairs = (pair.partition("=") for pair in options.loop)
        cameras = {name: looping(name, path, options.fps) for name, _, path in pairs}
    elif options.file or options.sound:
        cameras = {"cam": player(options.file) if options.file else sound()}
    else:
        width, height = map(int, options.size.split("x"))
        encoder = options.encoder or (
            "x264enc tune=zerolatency speed-preset=ultrafast "
            f"key-int-max={round(options.fps)} ! rtph264pay name=pay0 pt=96 config-interval=1"
        )
        camera = filming(
            width, height, options.fps, encoder, with_bars=options.bars, resize=options.resize
        )
        cameras = {"cam": camera}
    for name, camera in cameras.items():
        if options.only:
            camera.set_protocols(getattr(GstRtsp.RTSPLowerTrans, options.only))
        if options.user:
            protect(server, camera, options.user, options.password)
        server.get_mount_points().add_factory(f"/{name}", camera)
    if not server.attach(None):
        sys.exit("cannot listen")
    print("port", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
