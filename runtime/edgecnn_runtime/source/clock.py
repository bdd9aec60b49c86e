"""When a picture was taken, on this machine's monotonic clock."""

from itertools import pairwise

DRIFT = 200e-6
"""How fast the offset may rise: twice the ±100 ppm that camera and host crystals keep to."""
RISES = 3
"""Windows in a row whose smallest offset rises, after which the stamps are not real time."""
WINDOWS = {5.0: 0.1, 60.0: 0.05, 600.0: 0.12}
"""Seconds of a window → seconds by which its smallest offset rises at least. A short window sees
soon that stamps are slow by 2 %, the longest one sees everything beyond DRIFT."""
SLACK = 0.01
"""Seconds by which a picture may be less delayed than all before it and still be as live."""
QUIET = 0.25
"""Seconds, and at least two pictures, that are not less delayed: then nothing is buffered."""
STARTUP_DRAIN = 5.0
"""Seconds after connecting in which buffered pictures are recognized by their stamps."""
UNSTAMPED_DRAIN = 2.0
"""The same for pictures without stamps, of which little is known."""

BEHIND, MOST_BEHIND = 0.08, 0.4
"""Seconds by which a picture is later than the least delayed one, where its reader is behind, at
least and at most; in between it depends on what giving up costs."""
PRICE = 1 / 6
"""For each second without pictures, until the next key frame, it may be so much later."""
BEHIND_FOR = 0.1
"""Seconds in a row that this lasts before pictures are given up."""
WAITING_SHARE = 0.5
"""The part of its time that a reader waits for pictures, where it is fast enough."""
PAUSES = 3
"""Times in a row that it does so before its stamps are held to be slow: once may be a network."""
CATCHING_UP = 0.25
"""Seconds per second by which a reader gains on pictures that came late and all at once, at least:
whoever decodes at the camera's own pace would never be done with them."""


class StreamClock:
    """Turns a stream's time stamps into times of capture.

    The time of read() is not the time of capture: a 15 fps stream that is read 5 times a second is
    read out of a buffer, each picture later than the one before. The smallest difference between
    arrival and the stream's own stamp is that of a picture that was not delayed, so

        captured = pts + smallest(arrival - pts)

    A delay that all pictures have (exposure, encoder, the one picture that a decoder holds back)
    cannot be seen this way. The smallest difference may rise by DRIFT, because otherwise a camera
    whose clock is slow by 50 ppm would seem 4 s old after a day.

    There are cameras that stamp 25 pictures a second and send 15 at night. Then even the smallest
    difference of a window of time rises, window after window, and is followed as fast as it rises.

    Attributes:
        pace: Seconds that the stamps advance per second: 1.0 unless they are not real time.
    """

    def __init__(self) -> None:
        self.pace = 1.0
        self._pts = float("-inf")
        self._offset = float("inf")
        self._arrival = 0.0
        self._windows: list[_Window] = []
        self._restart()

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
            self._restart()
        offset = arrival - pts
        for window in self._windows:
            if window.add(offset, arrival) and window.slope:
                self._offset = max(self._offset, window.expected(arrival))
        slope = max(window.slope for window in self._windows)
        self.pace = 1.0 - slope
        rise = max(slope, DRIFT) * (arrival - self._arrival)
        self._offset = min(self._offset + rise, offset)
        self._pts, self._arrival = pts, arrival
        return min(pts + self._offset, arrival)

    def _restart(self) -> None:
        self._offset = float("inf")
        self._windows = [_Window(length, rise) for length, rise in WINDOWS.items()]


class Backlog:
    """Recognizes the pictures that were waiting in a buffer when a stream was opened.

    They come faster than they were taken: each is less delayed than the one before. Once no
    picture is, for a while, the stream is live. The first one cannot be told from a buffered one.
    """

    def __init__(self, limit: float = STARTUP_DRAIN) -> None:
        """Begin.

        Args:
            limit: Seconds after the first picture in which any is held to be buffered: the stamps
                of a live stream may be fast, too.
        """
        self._limit = limit
        self._drained = False
        self._opened: float | None = None
        self._least = float("inf")
        self._since = 0.0
        self._pictures = 0

    def holds(self, pts: float | None, arrival: float, *, waited: bool) -> bool:
        """Whether newer pictures wait behind this one, or may.

        Args:
            pts: Its stamp in seconds on the stream's clock; None without one.
            arrival: When it arrived, on the monotonic clock.
            waited: Whether it had to be waited for; counts for pictures without a stamp.
        """
        if self._drained:
            return False
        self._opened = arrival if self._opened is None else self._opened
        limit = min(UNSTAMPED_DRAIN, self._limit) if pts is None else self._limit
        if arrival - self._opened > limit:
            self._drained = True
        elif pts is None:
            return not waited
        elif arrival - pts < self._least - SLACK:
            self._least, self._since, self._pictures = arrival - pts, arrival, 0
        else:
            self._pictures += 1
            self._drained = self._pictures >= 2 and arrival - self._since >= QUIET
        return not self._drained


class Lag:
    """Recognizes that the reader of a live stream is too slow for it, so that pictures wait for it.

    Its pictures get older and older, and their stamps alone cannot tell: a camera that stamps 25
    pictures a second and sends 15 looks the same. But there the reader waits for each of them. Nor
    is it too slow for those that a network held back: it soon has them behind it.

    Attributes:
        behind: Whether pictures are to be given up now, until the newest ones come.
    """

    def __init__(self) -> None:
        self.behind = False
        self._least = float("inf")
        self._pts, self._arrival = float("-inf"), 0.0
        self._since = 0.0
        self._late = 0.0
        self._waited = 0.0
        self._pauses = 0

    def update(self, pts: float, arrival: float, waited: float, key_in: float = 0.0) -> bool:
        """Whether the reader is behind.

        Args:
            pts: A picture's stamp in seconds on the stream's clock.
            arrival: When it was read, on the monotonic clock.
            waited: Seconds that its reader had to wait for it.
            key_in: Seconds until the next key frame, before which nothing could be shown.
        """
        offset = arrival - pts
        self._least += DRIFT * (arrival - self._arrival)
        if pts < self._pts or offset <= self._least:
            self._least = offset
        self._pts, self._arrival = pts, arrival
        late = offset - self._least
        limit = min(max(PRICE * key_in, BEHIND), MOST_BEHIND)
        if late <= (BEHIND / 2 if self.behind else limit):
            self.behind = False
            self._since, self._late, self._waited = arrival, late, 0.0
            return False
        self._waited += waited
        elapsed = arrival - self._since
        if elapsed >= BEHIND_FOR:
            waits = self._waited >= WAITING_SHARE * elapsed
            self._pauses = self._pauses + 1 if waits else 0
            if self._pauses == PAUSES:  # the stamps are slow
                self._least, self._pauses = offset, 0
            gains = self._late - late >= CATCHING_UP * elapsed
            self.behind = not waits and (self.behind or not gains)
            self._since, self._late, self._waited = arrival, late, 0.0
        return self.behind


class _Window:
    """The smallest offset of each window of time.

    Attributes:
        slope: Seconds per second by which it has risen lately; 0.0 unless it rises steadily.
    """

    def __init__(self, length: float, rise: float) -> None:
        self.slope = 0.0
        self._length, self._rise = length, rise
        self._lows: list[tuple[float, float]] = []
        self._low: tuple[float, float] | None = None
        self._end = 0.0

    def add(self, offset: float, arrival: float) -> bool:
        """Whether this picture begins a new window."""
        if self._low is not None and arrival < self._end:
            self._low = min(self._low, (offset, arrival))
            return False
        if self._low is not None:
            self._lows = [*self._lows[-RISES:], self._low]
            steps = list(pairwise(self._lows))
            steady = len(steps) == RISES and all(b[0] - a[0] > self._rise for a, b in steps)
            (before, began), (after, ended) = steps[-1] if steps else (self._low, self._low)
            self.slope = (after - before) / (ended - began) if steady else 0.0
        self._low, self._end = (offset, arrival), arrival + self._length
        return True

    def expected(self, arrival: float) -> float:
        """The smallest offset to be expected now, if it goes on rising."""
        low, at = self._lows[-1]
        return low + self.slope * (arrival - at)
