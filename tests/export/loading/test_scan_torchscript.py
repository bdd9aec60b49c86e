"""TorchScript archives: a program of torch's own, which can write files but not run Python."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.archive import read_archive
from edgecnn_export.loading.load import load_model
from edgecnn_export.loading.pickle_scan import check_torchscript
from edgecnn_runtime.errors import CheckpointError, UntrustedError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def load(path: Path, **options: Any) -> Any:
    return load_model(ExportConfig(model=str(path), **options))


WRITES = [
    'torch.save(1, "{marker}")',
    'torch . save(1, "{marker}")',
    'ops.aten.save(1, "{marker}")',
    'getattr(torch, "save")(1, "{marker}")',
    'getattr(torch, "s\\141ve")(1, "{marker}")',
    'getattr(torch, "sa" "ve")(1, "{marker}")',
    'print(torch.from_file("{marker}", True, 4))',
]


@pytest.mark.parametrize("statement", WRITES)
def test_code_that_writes_a_file_does_not_run(
    scripted: Path, marker: Path, rewritten: Callable[..., Path], statement: str
) -> None:
    line = statement.replace("{marker}", str(marker)).encode()
    rewritten(scripted, {"tiny_archived.py": lambda code: inserted(code, line)})

    with pytest.raises(UntrustedError, match=r"its code in code/.*--trust-pickle"):
        load(scripted)
    assert not marker.exists()

    torch.jit.load(scripted)(torch.zeros(1, 3, 8, 8))
    assert marker.exists(), "the file was harmless: the test proves nothing"


def inserted(code: bytes, line: bytes) -> bytes:
    """``code`` with a statement before the first return of forward."""
    head, mark, tail = code.partition(b"    return ")
    assert mark
    return head + b"    _99 = " + line + b"\n" + mark + tail


class Restored(torch.nn.Module):
    """Writes a file while it is being loaded: its __setstate__ is compiled and called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(2))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        torch.save(state[0], "it-ran")
        self.weight = state[0]
        self.training = state[1]


def test_code_that_runs_while_loading_does_not_run(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.jit.save(torch.jit.script(Restored()), tmp_path / "model.ts")
    marker.unlink(missing_ok=True)

    with pytest.raises(UntrustedError):
        load(tmp_path / "model.ts")
    assert not marker.exists()

    torch.jit.load(tmp_path / "model.ts")
    assert marker.exists(), "the file was harmless: the test proves nothing"


@pytest.mark.parametrize("member", ["data.pkl", "constants.pkl", "code/__torch__.py.debug_pkl"])
def test_a_pickle_with_code_in_it_does_not_run(
    scripted: Path, evil: object, marker: Path, rewritten: Callable[..., Path], member: str
) -> None:
    content = pickle.dumps(evil, 2)
    rewritten(scripted, {member: content})
    with pytest.raises(UntrustedError, match=rf"{member} imports posix.system"):
        load(scripted)
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists(), "the pickle was harmless: the test proves nothing"


def test_a_class_of_torchs_own_is_refused(scripted: Path, rewritten: Callable[..., Path]) -> None:
    """Such classes bring an unpickler of their own, written in C++."""
    content = b"\x80\x02c__torch__.torch.classes.quantized\nConv2dPackedParamsBase\n."
    rewritten(scripted, {"constants.pkl": content})
    with pytest.raises(UntrustedError, match="Conv2dPackedParamsBase"):
        load(scripted)


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("bytecode.pkl", b"\x80\x02)."),
        ("code/__torch__/new.py", b"class (:\n"),
        ("code/__torch__/new.py", "# caf\xe9\n".encode("latin-1")),
        ("data/../../x", b""),
    ],
)
def test_members_that_are_not_understood(
    scripted: Path, rewritten: Callable[..., Path], member: str, content: bytes
) -> None:
    rewritten(scripted, {member: content})
    with pytest.raises((UntrustedError, CheckpointError)):
        load(scripted)


def test_what_torch_writes_is_taken(scripted: Path) -> None:
    check_torchscript(read_archive(scripted))


def test_no_new_operator_takes_a_file_name() -> None:
    """The forbidden words were found in this list; a torch that adds to it fails here."""
    names = {
        schema.name
        for schema in torch._C._jit_get_all_schemas()
        for argument in schema.arguments
        if any(word in argument.name for word in ("file", "path", "url"))
        and "str" in str(argument.type)
    }
    assert names == {"aten::save", "aten::from_file"}
