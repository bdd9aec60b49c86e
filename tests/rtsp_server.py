"""A camera: an RTSP server whose picture carries a frame counter; run by the system's python3.

    /usr/bin/python3 rtsp_server.py --fps 15 --size 320x240
    /usr/bin/python3 rtsp_server.py --file clip.mp4            an H.264 video instead

Prints `port N` once it listens, then a line a frame: `COUNTER SECONDS`, when the picture was made
on CLOCK_MONOTONIC, which is the same for every process. The counter is a row of 16 squares across
the middle, most significant bit first, white for one. With --bars the ground is 16 vertical bars of
gray that are different in each picture: see ``bars``.
"""

import argparse
import itertools
import random
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

BITS = 16


class Camera(GstRtspServer.RTSPMediaFactory):
    """One live picture, shared by every client."""

    def __init__(self, width: int, height: int, fps: int, encoder: str, bars: bool) -> None:
        super().__init__()
        self.width, self.height, self.fps, self.bars = width, height, fps, bars
        self.counter = itertools.count()
        self.set_shared(True)
        self.connect("media-configure", self.begin)
        self.set_launch(
            "( appsrc name=source is-live=true format=time do-timestamp=true "
            f"caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 "
            f"! {encoder} )"
        )

    def begin(
        self, _factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia
    ) -> None:
        """Film into a pipeline from when it is made until nobody looks any more."""
        source = media.get_element().get_by_name("source")
        over = threading.Event()
        media.connect("unprepared", lambda _: over.set())
        threading.Thread(target=self.film, args=(source, over), daemon=True).start()

    def film(self, source: Gst.Element, over: threading.Event) -> None:
        """Push a picture each 1/fps seconds."""
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            counter = next(self.counter)
            buffer = Gst.Buffer.new_wrapped(self.picture(counter))
            line = f"{counter} {time.monotonic():.6f}\n"
            source.emit("push-buffer", buffer)
            sys.stdout.write(line)
            sys.stdout.flush()
            due += 1 / self.fps

    def picture(self, counter: int) -> bytes:
        """I420: a gray ground, and the counter's squares."""
        side = self.width // BITS
        bits = [b"\xeb" if counter >> bit & 1 else b"\x10" for bit in range(BITS - 1, -1, -1)]
        row = b"".join(bit * side for bit in bits).ljust(self.width, b"\x80")
        top = (self.height - side) // 2
        ground = bars(counter, self.width) if self.bars else b"\x80" * self.width
        luma = ground * top + row * side + ground * (self.height - top - side)
        return luma + b"\x80" * (self.width * self.height // 2)


def bars(counter: int, width: int) -> bytes:
    """A row of a ground that tells whether a picture is whole: random bars, from the counter."""
    grays = random.Random(counter).choices(range(32, 224), k=BITS)
    return b"".join(bytes([gray]) * (width // BITS) for gray in grays).ljust(width, b"\x80")


def sound() -> GstRtspServer.RTSPMediaFactory:
    """An intercom: no picture."""
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch("( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )")
    return factory


def player(path: str) -> GstRtspServer.RTSPMediaFactory:
    """Plays an H.264 MP4 once, at its own pace."""
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( filesrc location="{path}" ! qtdemux ! h264parse ! rtph264pay name=pay0 )'
    )
    return factory


def protect(
    server: GstRtspServer.RTSPServer,
    camera: GstRtspServer.RTSPMediaFactory,
    user: str,
    password: str,
) -> None:
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
    parser = argparse.ArgumentParser()
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--file", default="")
    parser.add_argument("--sound", action="store_true", help="an intercom instead")
    parser.add_argument("--bars", action="store_true")
    parser.add_argument("--encoder", default="", help="the pipeline's end, with pay0")
    parser.add_argument("--only", choices=("TCP", "UDP"), help="the one transport it offers")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    width, height = map(int, options.size.split("x"))
    encoder = options.encoder or (
        f"x264enc tune=zerolatency speed-preset=ultrafast key-int-max={options.fps} "
        "! rtph264pay name=pay0 pt=96 config-interval=1"
    )
    camera = Camera(width, height, options.fps, encoder, options.bars)
    camera = player(options.file) if options.file else sound() if options.sound else camera
    if options.only:
        camera.set_protocols(getattr(GstRtsp.RTSPLowerTrans, options.only))
    if options.user:
        protect(server, camera, options.user, options.password)
    server.get_mount_points().add_factory("/cam", camera)
    if not server.attach(None):
        sys.exit("cannot listen")
    print("port", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
