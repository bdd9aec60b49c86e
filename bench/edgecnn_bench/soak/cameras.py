"""Clips as RTSP cameras: a real server in a process of its own, which can be killed."""

import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from edgecnn_runtime.errors import BackendMissingError, SourceLostError

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
    "gstreamer1.0-plugins-ugly gstreamer1.0-libav"
)
"""Debian's packages of the server and of what it films with."""

Announce = Callable[[str, int, float], None]
"""Called with a camera's name, the number of a picture in its clip, and when it was sent."""


def has_rtsp_server() -> bool:
    """Whether the system's Python can serve RTSP."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def require_rtsp_server() -> None:
    """Do nothing where the system's Python can serve RTSP.

    Raises:
        BackendMissingError: It cannot.
    """
    if not has_rtsp_server():
        raise BackendMissingError(
            f"no RTSP server here to play clips as cameras: sudo apt install {PACKAGES}"
        )


class ClipCameras:
    """Plays clips again and again as RTSP cameras on loopback, each at ``rtsp://…/NAME``.

    Attributes:
        port: Where it listens; the same after ``start`` as before ``kill``.
    """

    def __init__(
        self,
        clips: Mapping[str, Path],
        *,
        fps: float = 25.0,
        announce: Announce = lambda _name, _number, _at: None,
    ) -> None:
        """Start serving.

        Args:
            clips: H.264 MP4 without B-frames by the name of its camera.
            fps: Pictures per second of every camera.
            announce: Called for each picture, in a thread.

        Raises:
            BackendMissingError: There is no RTSP server here.
            SourceLostError: It cannot serve these clips.
        """
        require_rtsp_server()
        loops = [word for name, clip in clips.items() for word in ("--loop", f"{name}={clip}")]
        self._words = [SYSTEM_PYTHON, str(SERVER), "--fps", f"{fps:g}", *loops]
        self._announce = announce
        self.port = 0
        self.start()

    def __enter__(self) -> "ClipCameras":
        return self

    def __exit__(self, *problem: object) -> None:
        self.kill()

    def url(self, name: str, port: int | None = None) -> str:
        """The address of a camera, directly or through a proxy's port."""
        return f"rtsp://127.0.0.1:{port or self.port}/{name}"

    def start(self) -> None:
        """Serve again after ``kill``.

        Raises:
            SourceLostError: The clips cannot be read, or the port is taken meanwhile.
        """
        self._process = subprocess.Popen(
            [*self._words, "--port", str(self.port)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline().split()
        if not line:
            _, problem = self._process.communicate()
            raise SourceLostError(f"the RTSP server did not start: {problem.strip()}")
        self.port = int(line[1])
        threading.Thread(target=self._collect, args=(self._process,), daemon=True).start()

    def kill(self) -> None:
        """End the server as a power cut does; idempotent."""
        self._process.kill()
        self._process.wait()

    def _collect(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if len(words := line.split()) == 3:  # the last line may be cut short
                self._announce(words[0], int(words[1]), float(words[2]))
