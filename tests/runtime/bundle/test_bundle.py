"""A bundle is hostile until every byte of it is accounted for."""

import contextlib
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from edgecnn_runtime.bundle import bundle as files
from edgecnn_runtime.bundle.archive import pack, unpack
from edgecnn_runtime.bundle.bundle import (
    load_golden,
    new_bundle,
    open_bundle,
    parse_manifest,
)
from edgecnn_runtime.errors import BundleError, EdgecnnError, UsageError
from edgecnn_runtime.selection.candidates import candidates

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def rehash(bundle: Path, **changes) -> None:
    """Make the manifest tell the truth about the files again, as an attacker would."""
    manifest = json.loads((bundle / "manifest.json").read_text()) | changes
    for entry in (*manifest["artifacts"], manifest["golden"]):
        if (bundle / entry["file"]).is_file():
            entry["sha256"] = files.sha256_file(bundle / entry["file"])
    (bundle / "manifest.json").write_text(json.dumps(manifest))


class Bomb:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@contextlib.contextmanager
def refused_at_most(name):
    """Either it works, or a BundleError names the file; nothing else may come out."""
    try:
        yield
    except BundleError as error:
        if name not in str(error):
            raise AssertionError(f"{error} does not name {name}") from error


# --- files ------------------------------------------------------------------------------------


def test_a_good_bundle_opens(bundle):
    opened = open_bundle(bundle)
    assert opened.manifest.name == "tiny"
    assert opened.digest == files.sha256_file(bundle / "manifest.json")
    assert open_bundle(str(bundle), digest=opened.digest).digest == opened.digest


@SAME_FOLDER
@given(st.data())
def test_one_flipped_bit_is_noticed(bundle, data):
    name = data.draw(st.sampled_from(("model.fp32.onnx", "golden.npz")))
    raw = bytearray((bundle / name).read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    original = (bundle / name).read_bytes()
    (bundle / name).write_bytes(raw)
    try:
        with pytest.raises(BundleError, match=name):
            open_bundle(bundle)
    finally:
        (bundle / name).write_bytes(original)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "golden.npz"])
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "golden.npz", "manifest.json"])
def test_links_are_refused(bundle, tmp_path, name):
    (bundle / name).rename(tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="link"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "name",
    ["../model.fp32.onnx", "/etc/passwd", "a/b.onnx", "..", ".hidden", "", "a\\b", "C:x", "a\0b"],
)
def test_names_that_leave_the_folder_are_refused(bundle, name):
    raw = json.loads((bundle / "manifest.json").read_text())
    for place in ("artifacts", "golden", "files"):
        changed = json.loads(json.dumps(raw))
        if place == "artifacts":
            changed["artifacts"][0]["file"] = name
        elif place == "golden":
            changed["golden"]["file"] = name
        else:
            changed["files"] = {name: "0" * 64}
        with pytest.raises(BundleError):
            parse_manifest(json.dumps(changed).encode(), "manifest.json")


def test_weights_outside_the_bundle_are_refused(bundle, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(1000))
    model = onnx.load(bundle / "model.fp32.onnx")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (bundle / "model.fp32.onnx").write_bytes(model.SerializeToString())
    rehash(bundle)
    with pytest.raises(BundleError, match="keeps weights in another file"):
        open_bundle(bundle)


@pytest.mark.parametrize("what", ["", "nothing", "file"])
def test_what_is_no_bundle_says_what_is(tmp_path, what):
    if what == "file":
        (tmp_path / what).write_text("text")
    with pytest.raises(
        UsageError, match="no such bundle" if what == "nothing" else "is not a bundle"
    ):
        open_bundle(tmp_path / what)


# --- manifest ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "says"), [(3, "newer than"), (0, "older than"), (10**6, "newer")]
)
def test_another_schema_version_says_what_to_type(bundle, version, says):
    rehash(bundle, schema=version, unknown_key="from the future")
    with pytest.raises(BundleError, match=rf"version {version} is {says}.*`pip install` it"):
        open_bundle(bundle)


def test_a_manifest_of_the_first_schema_is_read_as_it_was_meant(bundle):
    before = open_bundle(bundle).manifest
    manifest = json.loads((bundle / "manifest.json").read_text())
    flat = {**manifest, **manifest.pop("model"), "schema": 1}
    del flat["model"]
    (bundle / "manifest.json").write_text(json.dumps(flat))
    assert open_bundle(bundle).manifest == before
    (bundle / "manifest.json").write_text(json.dumps(flat | {"colour": "bgr"}))
    with pytest.raises(BundleError, match="colour"):
        open_bundle(bundle)


def test_an_artifact_of_another_format_has_companions_that_are_hashed_and_packed(bundle, tmp_path):
    """Two files, as ncnn has them; no engine here loads them, so nothing is chosen wrongly."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "model.ncnn.param").write_text("7767517")
    (bundle / "model.ncnn.bin").write_bytes(b"weights")
    digest = files.sha256_file(bundle / "model.ncnn.bin")
    entry = {"file": "model.ncnn.param", "format": "ncnn", "precision": "fp16", "bytes": 7}
    companions = {"model.ncnn.bin": digest}
    rehash(bundle, artifacts=[*manifest["artifacts"], entry | {"companions": companions}])
    opened = open_bundle(bundle)
    assert {c.artifact.format for c in candidates(opened)} == {"onnx"}
    unpacked = unpack(pack(opened, tmp_path / "tiny.tar"), tmp_path / "there")
    assert (unpacked.path / "model.ncnn.bin").read_bytes() == b"weights"
    (bundle / "model.ncnn.bin").write_bytes(b"others")
    with pytest.raises(BundleError, match=r"model\.ncnn\.bin is not what the manifest says"):
        open_bundle(bundle)


def test_an_unknown_key_is_refused(bundle):
    rehash(bundle, colour="bgr")
    with pytest.raises(BundleError, match="colour"):
        open_bundle(bundle)


def paths(value, prefix=()):
    """Every place in a JSON value."""
    yield prefix
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(child, (*prefix, key))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@SAME_FOLDER
@given(st.data())
def test_any_value_anywhere_is_read_or_refused(bundle, data):
    manifest = json.loads((bundle / "manifest.json").read_text())
    *place, last = data.draw(st.sampled_from([p for p in paths(manifest) if p]))
    target = manifest
    for key in place:
        target = target[key]
    target[last] = data.draw(JSON)
    with refused_at_most("manifest.json"):
        parsed = parse_manifest(json.dumps(manifest).encode(), "manifest.json")
        assert parse_manifest(msgspec.json.encode(parsed), "again") == parsed


@SAME_FOLDER
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(raw):
    with pytest.raises(BundleError, match=r"^manifest\.json"):
        parse_manifest(raw, "manifest.json")


@SAME_FOLDER
@given(st.data())
def test_a_damaged_manifest_is_read_or_refused(bundle, data):
    raw = bytearray((bundle / "manifest.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with refused_at_most("manifest.json"):
        parse_manifest(bytes(raw), "manifest.json")


def test_endless_nesting_is_refused():
    with pytest.raises(BundleError):
        parse_manifest(b'{"schema": 1, "name": ' + b"[" * 200_000, "manifest.json")


def test_a_giant_manifest_is_refused_unread(bundle):
    with (bundle / "manifest.json").open("ab") as file:
        file.truncate(1 << 30)
    with pytest.raises(BundleError, match="over 4 MiB"):
        open_bundle(bundle)


def test_a_decoder_of_outputs_that_are_not_there_is_refused(bundle):
    model = json.loads((bundle / "manifest.json").read_text())["model"]
    rehash(bundle, model=model | {"decode": {"head": "classify", "output": "logits"}})
    with pytest.raises(BundleError, match="'logits' that is not in outputs"):
        open_bundle(bundle)


# --- golden data ------------------------------------------------------------------------------


def rewrite_golden(bundle, **arrays):
    golden = dict(np.load(bundle / "golden.npz")) | arrays
    kept = {name: value for name, value in golden.items() if value is not None}
    np.savez(bundle / "golden.npz", **kept)
    rehash(bundle)


def test_golden_data_is_read(bundle, pictures):
    golden = load_golden(open_bundle(bundle))
    assert np.array_equal(golden.pixels, pictures)
    assert golden.outputs["scores"].shape == (3, 4)


@pytest.mark.parametrize(
    "arrays",
    [
        {"pixels": None},
        {"pixels": np.zeros((3, 24, 32, 3), np.float32)},
        {"pixels": np.zeros((2, 24, 32, 3), np.uint8)},
        {"pixels": np.zeros((3, 32, 24, 3), np.uint8)},
        {"output.scores": None},
        {"output.scores": np.zeros((2, 4), np.float32)},
        {"output.scores": np.zeros((3, 9), np.float32)},
        {"output.scores": np.zeros((3, 4), np.float64)},
        {"output.scores": np.float32(1)},
    ],
)
def test_golden_data_of_another_shape_is_refused(bundle, arrays):
    rewrite_golden(bundle, **arrays)
    with pytest.raises(BundleError, match=next(iter(arrays))):
        load_golden(open_bundle(bundle))


def test_pickled_golden_data_is_refused_and_nothing_runs(bundle, tmp_path):
    proof = tmp_path / "ran"
    pickle.loads(pickle.dumps(Bomb(proof)))
    assert proof.exists(), "the bomb works"
    proof.unlink()
    rewrite_golden(bundle, pixels=np.array([Bomb(proof)], dtype=object))
    with pytest.raises(BundleError, match=r"golden\.npz"):
        load_golden(open_bundle(bundle))
    (bundle / "golden.npz").write_bytes(pickle.dumps(Bomb(proof)))
    rehash(bundle)
    with pytest.raises(BundleError, match=r"golden\.npz"):
        load_golden(open_bundle(bundle))
    assert not proof.exists()


def test_a_zip_bomb_is_refused_unpacked(bundle):
    with (
        zipfile.ZipFile(bundle / "golden.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("pixels.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(1 << 20))
    rehash(bundle)
    assert (bundle / "golden.npz").stat().st_size < 1 << 20
    with pytest.raises(BundleError, match="unpacks to 300 MiB"):
        load_golden(open_bundle(bundle))


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999,), }",
        b"{'descr': '|u1', 'shape': (1,), \xb7",
        b"(((((",
        b"[" * 5000,
    ],
    ids=["terabytes", "no Python", "no end", "too deep"],
)
def test_an_array_whose_header_lies_is_refused(bundle, header):
    header += b" " * (64 - (10 + len(header) + 1) % 64) + b"\n"
    raw = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(bundle / "golden.npz", "w") as archive:
        archive.writestr("pixels.npy", raw)
    rehash(bundle)
    with pytest.raises(BundleError, match=r"golden\.npz"):
        load_golden(open_bundle(bundle))


@settings(SAME_FOLDER, max_examples=60)
@given(st.data())
def test_damaged_golden_data_is_read_or_refused(bundle, data):
    original = (bundle / "golden.npz").read_bytes()
    manifest = (bundle / "manifest.json").read_bytes()
    raw = bytearray(original)
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)) | st.just(len(raw)))
    (bundle / "golden.npz").write_bytes(raw[:cut])
    rehash(bundle)
    with refused_at_most("golden.npz"):
        load_golden(open_bundle(bundle))
    (bundle / "golden.npz").write_bytes(original)
    (bundle / "manifest.json").write_bytes(manifest)


# --- writing ----------------------------------------------------------------------------------


def test_a_failed_writer_leaves_nothing(tmp_path):
    out = tmp_path / "a.edge"
    with pytest.raises(ZeroDivisionError), new_bundle(out, overwrite=False) as folder:
        (folder / "half").write_text(str(1 / 0))
    assert list(tmp_path.iterdir()) == []


def test_an_old_bundle_stays_until_the_new_one_is_whole(bundle):
    before = open_bundle(bundle).digest
    with pytest.raises(UsageError, match="--overwrite"):
        new_bundle(bundle, overwrite=False).__enter__()
    with pytest.raises(RuntimeError), new_bundle(bundle, overwrite=True):
        raise RuntimeError
    assert open_bundle(bundle).digest == before
    with new_bundle(bundle, overwrite=True) as folder:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
        rehash(folder, name="newer")
    assert open_bundle(bundle).manifest.name == "newer"
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="will not be replaced"):
        new_bundle(tmp_path / "home", overwrite=True).__enter__()
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_no_permission_is_one_message(read_only):
    with pytest.raises(EdgecnnError, match="cannot write"):
        new_bundle(read_only / "a.edge", overwrite=False).__enter__()


# --- pack and unpack --------------------------------------------------------------------------


def test_packed_and_unpacked_it_is_the_same(bundle, tmp_path):
    opened = open_bundle(bundle)
    tar = pack(opened, tmp_path / "tiny.edge.tar")
    again = unpack(tar, tmp_path / "elsewhere")
    assert again.digest == opened.digest
    assert again.path.name == "tiny.edge"
    assert pack(again, tmp_path / "b.tar").read_bytes() == tar.read_bytes()
    with pytest.raises(UsageError, match="packed bundle"):
        open_bundle(tar)


def tar_of(path, *members):
    with tarfile.open(path, "w") as archive:
        for name, kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = "/etc/passwd"
            info.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"evil") if info.size else None)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/evil", "a.edge/../../evil", "a.edge/../evil", "evil", "a.edge/b/evil",
        "a.edge//evil", "a.edge/.", "./a.edge/evil", "a/evil",
    ],
)  # fmt: skip
def test_members_that_leave_the_bundle_are_refused(tmp_path, name):
    tar = tar_of(tmp_path / "a.tar", (name, tarfile.REGTYPE))
    with pytest.raises(BundleError):
        unpack(tar, tmp_path / "out")
    assert not any(path.is_file() for path in (tmp_path / "out").rglob("*"))
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_members_that_are_no_files_are_refused(tmp_path, kind):
    tar = tar_of(tmp_path / "a.tar", ("a.edge/model.onnx", kind))
    with pytest.raises(BundleError, match="refuses member"):
        unpack(tar, tmp_path / "out")


def test_a_tar_that_holds_no_good_bundle_leaves_nothing(bundle, tmp_path):
    for members in (
        [("a.edge/model.onnx", tarfile.REGTYPE)],
        [("a.edge/x", tarfile.REGTYPE), ("b.edge/x", tarfile.REGTYPE)],
        [("a.edge/x", tarfile.REGTYPE), ("a.edge/x", tarfile.REGTYPE)],
        [],
    ):
        with pytest.raises(EdgecnnError):
            unpack(tar_of(tmp_path / "a.tar", *members), tmp_path / "out")
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@settings(SAME_FOLDER, max_examples=60)
@given(st.data())
def test_a_damaged_tar_is_read_or_refused(bundle, tmp_path, data):
    tar = tmp_path / "tiny.edge.tar"
    raw = bytearray(pack(open_bundle(bundle), tar).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    tar.write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    with contextlib.suppress(EdgecnnError):
        unpack(tar, tmp_path / "out", overwrite=True)
