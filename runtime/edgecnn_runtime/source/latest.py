"""A place for one value between two threads."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """One thread puts, another takes; it never holds more than one value."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._value: T | None = None
        self._done = False
        self._error: Exception | None = None

    def put(self, value: T, *, replace: bool) -> bool:
        """Leave a value; True where it pushed out one that nobody took.

        replace: push out, or else wait until the slot is empty. After ``finish`` it does nothing.
        """
        with self._changed:
            if not replace:
                self._changed.wait_for(lambda: self._value is None or self._done)
            pushed_out = self._value is not None and not self._done
            if not self._done:
                self._value = value
            self._changed.notify_all()
            return pushed_out

    def finish(self, error: Exception | None = None) -> None:
        """No more values come; the first call decides why. Wakes whoever waits."""
        with self._changed:
            if not self._done:
                self._done, self._error = True, error
            self._changed.notify_all()

    def empty(self) -> None:
        """Throw away a value that nobody took."""
        with self._changed:
            self._value = None
            self._changed.notify_all()

    def take(self, timeout: float) -> T | None:
        """The value, waiting for one; None once finished.

        Raises the error it was finished with, and TimeoutError after ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._value is not None or self._done, timeout):
                raise TimeoutError
            value, self._value = self._value, None
            self._changed.notify_all()
            if value is None and self._error is not None:
                raise self._error
            return value
