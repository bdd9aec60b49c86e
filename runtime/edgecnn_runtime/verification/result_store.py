"""Many results at once, those that hold pixels compressed."""

import pickle
import zlib
from collections.abc import Iterable, Sequence
from typing import TypeAlias, overload

from edgecnn_runtime.types import ClassMap, InstanceMask, Result

FASTEST = 1
"""Of zlib's levels; masks and maps shrink to a hundredth with it."""
Packed: TypeAlias = bytes | Result


class ResultStore(Sequence[Result]):
    """The results of a whole data set.

    A class map of a 1080p picture takes 2 MB, so those of a few thousand pictures would not fit
    into memory.
    """

    def __init__(self, results: Iterable[Result] = ()) -> None:
        """Take all results, one by one."""
        self._results: list[Packed] = [_pack(result) for result in results]

    def __len__(self) -> int:
        return len(self._results)

    @overload
    def __getitem__(self, index: int) -> Result: ...

    @overload
    def __getitem__(self, index: slice) -> "Sequence[Result]": ...

    def __getitem__(self, index: int | slice) -> "Result | Sequence[Result]":
        if isinstance(index, slice):
            return [_unpack(packed) for packed in self._results[index]]
        return _unpack(self._results[index])


def _pack(result: Result) -> Packed:
    holds_pixels = isinstance(result, ClassMap) or (
        isinstance(result, list) and any(isinstance(each, InstanceMask) for each in result)
    )
    return zlib.compress(pickle.dumps(result), FASTEST) if holds_pixels else result


def _unpack(packed: Packed) -> Result:
    if not isinstance(packed, bytes):
        return packed
    result: Result = pickle.loads(zlib.decompress(packed))  # noqa: S301  (our own bytes)
    return result
