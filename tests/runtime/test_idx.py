import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecnn_runtime import idx
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.idx import read_idx

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
RAW = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 3, 4) + ARRAY.tobytes()
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@SAME_FOLDER
@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)),
    packed=st.booleans(),
)
def test_what_was_written_is_read(tmp_path: Path, array: np.ndarray, packed: bool) -> None:
    raw = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    raw += array.tobytes()
    path = tmp_path / "any-name"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    np.testing.assert_array_equal(read_idx(path, dimensions=array.ndim), array)


@SAME_FOLDER
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: RAW[:8] + tail))
def test_any_bytes_give_an_array_or_an_error_that_names_the_file(
    tmp_path: Path, raw: bytes
) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(raw)
    try:
        said = str(read_idx(path, dimensions=3).shape)
    except UsageError as error:
        said = str(error)
    assert str(path) in said or said.startswith("(")


@SAME_FOLDER
@given(cut=st.integers(0, len(RAW) - 1), packed=st.booleans())
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int, packed: bool) -> None:
    path = tmp_path / "cut"
    path.write_bytes(gzip.compress(RAW)[: cut + 1] if packed else RAW[:cut])
    if packed and cut + 1 >= len(gzip.compress(RAW)):
        return
    with pytest.raises(UsageError, match="cut"):
        read_idx(path, dimensions=3)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x89PNG" + RAW, "two zero bytes"),
        (RAW[:2] + b"\x0d" + RAW[3:], "type 0x0d"),
        (RAW[:3] + b"\x01" + RAW[4:], "1 dimensions, not 3"),
        (RAW + b"surplus", r"2 x 3 x 4 = 24 bytes\s+and has 31"),
        (RAW[:4] + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1), "download it again"),
        (b"", "not an IDX file"),
    ],
)
def test_the_error_says_what_is_wrong(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=message):
        read_idx(path, dimensions=3)


def test_a_gzip_bomb_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "LIMIT", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20)))
    with pytest.raises(UsageError, match="unpacks to more"):
        read_idx(path, dimensions=3)


def test_a_missing_file_and_a_folder_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_idx(tmp_path / "absent", dimensions=1)
    with pytest.raises(UsageError, match="cannot be read"):
        read_idx(tmp_path, dimensions=1)
