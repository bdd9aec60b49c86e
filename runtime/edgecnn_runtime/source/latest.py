"""Values on their way from one thread to another, the newest first to live."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, TypeAlias, TypeVar, cast

T = TypeVar("T")

SkipReason: TypeAlias = Literal["not decoded", "damaged"]
"""Why a picture was never made: there was no time for it; it, or one before it that it is built on,
did not arrive whole."""


class Deferred(Generic[T]):
    """A value that is made when it is first asked for, by the thread that asks.

    Attributes:
        value: What was made; None before.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        """Remember how.

        Args:
            make: Called once, unless it raises; what it holds is let go then.
        """
        self.value: T | None = None
        self._make: Callable[[], T] | None = make
        self._lock = threading.Lock()

    def get(self) -> T:
        """The value.

        Raises:
            Exception: Whatever ``make`` raises.
        """
        with self._lock:
            if self._make is not None:
                self.value, self._make = self._make(), None
            return cast("T", self.value)


class LatestSlot(Generic[T]):
    """One thread puts, another takes; it never holds more than ``capacity`` values.

    A value may be deferred: then one that is pushed out is never made.

    Attributes:
        watch: Called after every change but a ``poll``, in the thread that made it and without a
            lock held, with whether a value was pushed out.
        on_skip: Told how many values were never made, and why.
        last_change: When a value was last put or taken, on the monotonic clock.
        error: What it was finished with.
    """

    def __init__(self, capacity: int = 1) -> None:
        self.watch: Callable[[bool], None] = lambda _: None
        self.on_skip: Callable[[int, SkipReason], None] = lambda _count, _reason: None
        self.last_change = time.monotonic()
        self.error: Exception | None = None
        self._condition = threading.Condition()
        self._values: deque[T | Deferred[T]] = deque()
        self._capacity = capacity
        self._finished = False

    def __len__(self) -> int:
        return len(self._values)

    @property
    def full(self) -> bool:
        """Whether the next ``put`` pushes a value out, or waits."""
        return len(self._values) >= self._capacity

    @property
    def finished(self) -> bool:
        """Whether no more values come."""
        return self._finished

    @property
    def ended(self) -> bool:
        """Whether it is finished and every value was taken."""
        return self._finished and not self._values

    def put(self, value: T | Deferred[T], *, replace: bool) -> bool:
        """Leave a value; after ``finish`` it is ignored.

        Args:
            value: For the thread that takes.
            replace: Push out the oldest value where there is no room, instead of waiting for room.

        Returns:
            Whether a value that nobody took was pushed out.
        """
        with self._condition:
            if self.full and not replace:
                self._condition.wait_for(lambda: self._finished or not self.full)
            if self._finished:
                return False
            if pushed_out := self.full:
                self._values.popleft()
            self._values.append(value)
            self._change()
        self.watch(pushed_out)
        return pushed_out

    def skip(self, count: int, reason: SkipReason) -> None:
        """So many values were not made."""
        self.on_skip(count, reason)

    def finish(self, error: Exception | None = None) -> None:
        """No more values come; the first call decides why. Wakes whoever waits."""
        with self._condition:
            if not self._finished:
                self._finished, self.error = True, error
            self._change()
        self.watch(False)

    def clear(self) -> None:
        """Throw away what nobody took."""
        with self._condition:
            self._values.clear()
            self._change()
        self.watch(False)

    def take(self, timeout: float | None = None) -> T | None:
        """The oldest value, waiting for one; None once finished.

        Raises:
            TimeoutError: Nothing came for ``timeout`` seconds.
            Exception: What it was finished with, once every value was taken, or what making the
                value raises.
        """
        with self._condition:
            if not self._values and not self._condition.wait_for(
                lambda: self._finished or self._values, timeout
            ):
                raise TimeoutError
            value = self.pop()
        if value is None and self.error is not None:
            raise self.error
        self.watch(False)
        return value.get() if isinstance(value, Deferred) else value

    def poll(self) -> T | None:
        """The oldest value, None where there is none now.

        Raises:
            Exception: What making it raises.
        """
        value = self.pop()
        return value.get() if isinstance(value, Deferred) else value

    def pop(self) -> T | Deferred[T] | None:
        """The oldest value as it was put, for another slot; None where there is none now."""
        with self._condition:
            if not self._values:
                return None
            self._change()
            return self._values.popleft()

    def _change(self) -> None:
        self.last_change = time.monotonic()
        self._condition.notify_all()
