"""The newest result of each camera, for the page."""

import threading
from collections.abc import Callable

from edgecnn_runtime.web.operations import LiveView


class Views:
    """Holds the newest view of each pipeline; every method may be called from any thread."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], LiveView] = {}
        self._changed = threading.Condition()
        self._wakes: tuple[Callable[[str], None], ...] = ()

    def put(self, camera: str, view: LiveView) -> None:
        """A new result.

        Args:
            camera: Its name.
            view: As it may be shown.
        """
        with self._changed:
            self._newest[camera, view.pipeline] = view
            self._changed.notify_all()
        for wake in self._wakes:
            wake(camera)

    def get(
        self, camera: str, pipeline: str, after: int, timeout: float, is_live: Callable[[], bool]
    ) -> LiveView | None:
        """The newest view of a pipeline; None where there is none in time, or it is not live.

        Args:
            camera: The camera's name.
            pipeline: The pipeline's.
            after: Wait for a frame whose index is not this one.
            timeout: Seconds to wait at most.
            is_live: Whether the camera shows what happens now: an old picture is not shown.
        """

        def newer() -> LiveView | None:
            view = self._newest.get((camera, pipeline))
            is_newer = view is not None and view.result.frame.index != after
            return view if is_newer and is_live() else None

        with self._changed:
            return self._changed.wait_for(newer, timeout) or None

    def forget(self, camera: str) -> None:
        """The camera is gone."""
        with self._changed:
            for key in [key for key in self._newest if key[0] == camera]:
                del self._newest[key]

    def subscribe(self, wake: Callable[[str], None]) -> Callable[[], None]:
        """Call ``wake`` with a camera's name at each new view; returns what ends that."""
        with self._changed:
            self._wakes = (*self._wakes, wake)

        def end() -> None:
            with self._changed:
                self._wakes = tuple(each for each in self._wakes if each is not wake)

        return end
