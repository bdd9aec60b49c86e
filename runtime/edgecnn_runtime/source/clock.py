"""When a picture was taken, on this machine's monotonic clock."""

DRIFT = 200e-6
"""How fast the offset may rise: twice the ±100 ppm that camera and host crystals keep to."""


class StreamClock:
    """Turns a stream's time stamps into times of capture.

    The time of read() is not the time of capture: a 15 fps stream that is read 5 times a second is
    read out of a buffer, each picture later than the one before. The smallest difference between
    arrival and the stream's own stamp is that of a picture that was not delayed, so

        captured = pts + smallest(arrival - pts)

    A delay that all pictures have (exposure, encoder, the one picture that a decoder holds back)
    cannot be seen this way. The smallest difference may rise by DRIFT, because otherwise a camera
    whose clock is slow by 50 ppm would seem 4 s old after a day.
    """

    def __init__(self) -> None:
        self._pts = float("-inf")
        self._offset = float("inf")
        self._seen = 0.0

    def captured(self, pts: float | None, arrival: float) -> float:
        """When a picture was captured; never later than it arrived.

        Args:
            pts: Its stamp in seconds on the stream's clock; None without one, in which case the
                arrival counts. A stamp below the one before means that the camera has restarted.
            arrival: When it arrived, on the monotonic clock.
        """
        if pts is None:
            return arrival
        if pts < self._pts:
            self._offset = float("inf")
        self._offset = min(self._offset + DRIFT * (arrival - self._seen), arrival - pts)
        self._pts, self._seen = pts, arrival
        return min(pts + self._offset, arrival)
