"""When a picture was taken, on this machine's monotonic clock."""

DRIFT = 200e-6
"""How fast the offset may rise: twice the ±100 ppm that camera and host crystals keep to."""


class StreamClock:
    """Turns a stream's time stamps into times of capture.

    The time of read() lies: a 15 fps stream read 5 times a second is read out of a buffer, each
    picture later than the one before. The stream's own stamps do not. The smallest difference
    ever seen between arrival and stamp is that of a picture nothing held up, so

        captured = pts + smallest(arrival - pts)

    What delays every picture alike (exposure, encoder, the one picture a decoder holds back)
    cannot be seen this way. The smallest difference may rise by DRIFT, or a camera whose clock
    runs slow by 50 ppm would look 4 s old after a day.
    """

    def __init__(self) -> None:
        self._pts = float("-inf")
        self._offset = float("inf")
        self._seen = 0.0

    def captured(self, pts: float | None, arrival: float) -> float:
        """When the picture with this stamp was taken; never later than it arrived.

        pts: seconds, on the stream's clock; None where it has none, and arrival is all there is.
        A stamp smaller than the one before it means that the camera began anew.
        """
        if pts is None:
            return arrival
        if pts < self._pts:
            self._offset = float("inf")
        self._offset = min(self._offset + DRIFT * (arrival - self._seen), arrival - pts)
        self._pts, self._seen = pts, arrival
        return min(pts + self._offset, arrival)
