"""Exported programs: torch.export.load makes Python of text in the file, in many places."""

import contextlib
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.archive import read_archive, write_archive
from edgecnn_export.loading.load import load_model
from edgecnn_export.loading.pickle_scan import SuspectError
from edgecnn_export.loading.scan_pt2 import PROGRAM, clean_pt2
from edgecnn_runtime.errors import CheckpointError, UnsupportedModelError, UntrustedError

pytestmark = pytest.mark.filterwarnings("ignore")
Json = dict[str, Any]


def load(path: Path) -> Any:
    return load_model(ExportConfig(model=str(path)))


def naively(path: Path) -> None:
    """What anyone would type. Most crafted files fail afterwards: too late."""
    try:
        torch.export.load(path).module()(torch.zeros(2, 3, 16, 16))
    except Exception:
        return


def graph(program: Json) -> Json:
    return program["graph_module"]["graph"]


def in_a_shape(program: Json, code: str) -> None:
    for value in graph(program)["tensor_values"].values():
        for size in value["sizes"]:
            if "as_expr" in size:
                size["as_expr"]["expr_str"] = code


def in_a_shape_behind_sympy(program: Json, code: str) -> None:
    in_a_shape(program, f"Integer({code})")


def in_a_name(program: Json, code: str) -> None:
    renamed = json.dumps(program).replace('"image"', json.dumps(f"image, y={code}"))
    program.update(json.loads(renamed))


def in_a_guard(program: Json, code: str) -> None:
    program["guards_code"] = [code]


@pytest.mark.parametrize(
    "place", [in_a_shape, in_a_shape_behind_sympy, in_a_name, in_a_guard], ids=lambda f: f.__name__
)
def test_code_in_the_programs_text_does_not_run(
    exported: Path,
    marker: Path,
    rewritten: Callable[..., Path],
    edited: Callable[..., Any],
    place: Callable[[Json, str], None],
) -> None:
    code = f"__import__('os').system('touch {marker}')"
    rewritten(exported, {PROGRAM: edited(lambda program: place(program, code))})

    with pytest.raises(UntrustedError, match="--trust-pickle"):
        load(exported)
    assert not marker.exists()

    naively(exported)
    assert marker.exists(), "the file was harmless: the test proves nothing"


@pytest.mark.parametrize("spec", ["in_spec", "out_spec"])
def test_a_module_named_by_the_pytree_is_not_imported(
    exported: Path,
    marker: Path,
    rewritten: Callable[..., Path],
    edited: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    spec: str,
) -> None:
    monkeypatch.syspath_prepend(str(exported.parent))
    (exported.parent / f"named_by_{spec}.py").write_text(f"open({str(marker)!r}, 'w')")
    context = json.dumps({"__enum__": True, "fqn": f"named_by_{spec}:Color", "name": "RED"})

    def name_it(program: Json) -> None:
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        tree = {"type": "builtins.dict", "context": context, "children_spec": []}
        signature[spec] = json.dumps([1, tree])

    rewritten(exported, {PROGRAM: edited(name_it)})
    with pytest.raises(UntrustedError, match=spec):
        load(exported)
    assert not marker.exists()

    naively(exported)
    assert marker.exists(), "the file was harmless: the test proves nothing"


def sample_inputs(evil: bytes) -> dict[str, Any]:
    return {"data/sample_inputs/model.pt": evil}


def pickled_weight(evil: bytes) -> dict[str, Any]:
    def use_it(content: bytes) -> bytes:
        config = json.loads(content)
        next(iter(config["config"].values())).update(use_pickle=True, path_name="weight_99")
        return json.dumps(config).encode()

    return {"model_weights_config.json": use_it, "data/weights/weight_99": evil}


def opaque_constant(evil: bytes) -> dict[str, Any]:
    meta = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    return {
        "model_constants_config.json": json.dumps({"config": {"k": meta}}).encode(),
        "data/constants/opaque_obj_0": evil,
    }


@pytest.mark.parametrize("changes", [sample_inputs, pickled_weight, opaque_constant])
def test_a_pickle_with_code_in_it_does_not_run(
    exported: Path,
    evil: object,
    marker: Path,
    saved: Callable[..., bytes],
    rewritten: Callable[..., Path],
    changes: Callable[[bytes], dict[str, Any]],
) -> None:
    content = pickle.dumps(evil) if changes is opaque_constant else saved(((evil,), {}))
    rewritten(exported, changes(content))

    with pytest.raises(UntrustedError, match="--trust-pickle"):
        load(exported)
    assert not marker.exists()

    naively(exported)
    assert marker.exists(), "the file was harmless: the test proves nothing"


@pytest.mark.parametrize(
    "member",
    [
        "data/aotinductor/model/model.so",
        "models/second.json",
        "data/constants/custom_obj_0",
        "data/weights/model.pt",
        "data/constants/model.pt",
        "executorch/model.pte",
    ],
)
def test_members_that_would_be_run_or_unpickled(
    exported: Path, rewritten: Callable[..., Path], member: str
) -> None:
    rewritten(exported, {member: b"anything"})
    with pytest.raises(UntrustedError, match=rf"its member {member}"):
        load(exported)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every string of a JSON value stands, keys included."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inside in items:
        if isinstance(inside, str):
            yield (*path, key)
        elif isinstance(inside, dict | list):
            yield from leaves(inside, (*path, key))
        if isinstance(value, dict):
            yield (*path, key, "the key itself")


def replaced(value: Any, path: tuple[Any, ...], text: str) -> None:
    for key in path[:-2]:
        value = value[key]
    if path[-1] == "the key itself":
        value[text] = value.pop(path[-2])
    elif len(path) > 1:
        value[path[-2]][path[-1]] = text
    else:
        value[path[-1]] = text


@pytest.mark.parametrize("member", [PROGRAM, "data/weights/model_weights_config.json"])
def test_code_in_any_string_of_the_file_is_refused_or_dropped_or_never_run(
    exported: Path, marker: Path, member: str
) -> None:
    """Every string and key in turn. Where it is let through, the program is loaded and called."""
    code = f"__import__('os').system('touch {marker}')"
    members = read_archive(exported)
    original = json.loads(members[member])
    places = list(leaves(original))
    assert len(places) > 100
    kept = []
    for place in places:
        program = json.loads(members[member])
        replaced(program, place, code)
        try:
            clean = clean_pt2(members | {member: json.dumps(program).encode()})
        except SuspectError:
            continue
        if b"touch" in clean[member]:
            kept.append(place)
            with contextlib.suppress(Exception):
                torch.export.load(write_archive(clean)).module()(torch.zeros(2, 3, 16, 16))
        assert not marker.exists(), place
    assert {place[-1] for place in kept} <= {"as_string", "torch_version", "nn_module_stack"}


def test_what_torch_writes_is_taken_and_computes_the_same(exported: Path) -> None:
    picture = torch.rand(3, 3, 12, 16)
    loaded = load(exported)
    expected = torch.export.load(exported).module()(picture)
    torch.testing.assert_close(loaded.module(picture), expected)


def test_the_module_a_node_came_from_is_kept(exported: Path) -> None:
    stacks = [node.meta.get("nn_module_stack") for node in load(exported).program.graph.nodes]
    assert any("conv" in str(stack) for stack in stacks)


def test_a_program_from_a_gpu_is_brought_to_the_cpu(
    exported: Path, rewritten: Callable[..., Path]
) -> None:
    def moved(content: bytes) -> bytes:
        return content.replace(b'"type": "cpu", "index": null', b'"type": "cuda", "index": 0')

    rewritten(exported, {PROGRAM: moved, "model_weights_config.json": moved})
    module = load(exported).module
    assert {value.device.type for value in module.state_dict().values()} == {"cpu"}
    assert module(torch.zeros(1, 3, 16, 16)).shape == (1, 5)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_program(exported: Path, rewritten: Callable[..., Path], content: bytes) -> None:
    rewritten(exported, {PROGRAM: content})
    with pytest.raises((UntrustedError, CheckpointError)):
        load(exported)


def test_a_missing_member(exported: Path, members: Callable[[Path], dict[str, bytes]]) -> None:
    for name in ("data/sample_inputs/model.pt", PROGRAM, "archive_version"):
        clean = {key.partition("/")[2]: value for key, value in members(exported).items()}
        del clean[name]
        with pytest.raises(SuspectError, match=name):
            clean_pt2(clean)


def test_a_program_of_an_older_torch_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("version", "8.1")
        archive.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(UnsupportedModelError, match=r"before torch 2\.8"):
        load(tmp_path / "model.pt2")
