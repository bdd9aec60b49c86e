"""What loading a file could run, found without loading it.

A pickle is a program for a small stack machine: whatever it imports it can call. TorchScript is
a program too, compiled by torch: it cannot reach Python, but it can write files. Both are read
here as data, and anything that is not known to be harmless is refused.
"""

import ast
import io
import pickletools
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping

from edgecnn_export.loading.archive import ZIP_ERRORS

PLAIN_GLOBALS = re.compile(
    r"""(collections|_codecs|builtins|__builtin__)\.(OrderedDict|encode|set|complex|bytearray)
    | torch\.(Size|Tensor|device|dtype|\w+Storage|float\w*|u?int\d+|bool|bfloat16|half)
    | torch\.storage\.\w+Storage
    | torch\.nn\.parameter\.Parameter
    | torch\._utils\._rebuild_\w+
    | torch\._tensor\._rebuild_\w+
    """,
    re.VERBOSE,
)
"""What torch.save writes for tensors. It only serves the text of a refusal: torch's own unpickler,
which knows nothing else, decides whether a file is loaded."""

TORCHSCRIPT_GLOBALS = re.compile(
    r"""collections\.OrderedDict
    | torch\.(device|\w+Storage)
    | torch\._utils\._rebuild_(tensor_v2|parameter)
    | torch\.jit\._pickle\.(build_\w+list|restore_type_tag|build_tensor_from_id)
    | __torch__(\.(?!classes\b)\w+)+
    """,
    re.VERBOSE,
)
"""What torch.jit.save writes. A class under ``__torch__`` is one compiled from the archive's own
code; one under ``classes`` is C++ with an unpickler of its own, and is refused."""

FORBIDDEN_WORDS = re.compile(r"\b(save|from_file|load_tensor|__setstate__)\b")
"""The operators of torch that take a file name, and the one method that loading runs."""

TORCHSCRIPT_MEMBERS = re.compile(
    r"""(?P<pickle> (data|constants|traced_inputs)\.pkl)
    | (?P<code> code/.+\.py)
    | (?P<debug> code/.+\.debug_pkl)
    | (?P<other> (data|constants|traced_inputs)/\d+ | version | byteorder | \.data/\w+ | extra/.+)
    """,
    re.VERBOSE,
)

STRINGS = {
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE",
    "SHORT_BINSTRING", "BINSTRING", "STRING",
}  # fmt: skip
MEMO_READS = {"GET", "BINGET", "LONG_BINGET"}
MEMO_WRITES = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
IMPORTS = {"GLOBAL", "INST"}
EXTENSIONS = {"EXT1", "EXT2", "EXT4"}
UNKNOWN = "?"
PICKLE_LIMIT = 256 << 20
LEGACY_PICKLES = 5
"""Magic number, protocol version, system information, the object, the keys of its storages."""


class SuspectError(Exception):
    """A file contains something a loader could run, or something unknown; the message names it."""


def imports_of(data: bytes) -> list[str]:
    """What a file of torch.save imports when it is loaded, in order, as ``module.name``.

    ``?`` stands for an import whose name is unknown. Nothing is imported or called.

    Args:
        data: The file's content, in the zip format or the one before torch 1.6.
    """
    return pickle_imports(_pickle_in(data) if data.startswith(b"PK\x03\x04") else data)


def pickle_imports(data: bytes) -> list[str]:
    """What consecutive pickles import, up to the first byte that belongs to no pickle."""
    file = io.BytesIO(data)
    names: dict[str, None] = {}
    for index in range(LEGACY_PICKLES):
        try:
            for name in _imports(file):
                names[name] = None
        except (ValueError, IndexError, OverflowError):
            if index == 0:
                names[UNKNOWN] = None
            break
    return list(names)


def unsafe_imports(imports: Iterable[str]) -> list[str]:
    """The imports that are more than tensors and plain data."""
    return [name for name in imports if not PLAIN_GLOBALS.fullmatch(name)]


def check_torchscript(members: Mapping[str, bytes]) -> None:
    """Check that a TorchScript archive contains only tensors, plain data and arithmetic.

    Raises:
        SuspectError: It contains something else.
    """
    for name, content in members.items():
        match = TORCHSCRIPT_MEMBERS.fullmatch(name)
        if match is None:
            raise SuspectError(f"its member {name} is not one that torch.jit.save writes")
        if match["pickle"] or match["debug"]:
            _check_torchscript_pickle(name, content)
        elif match["code"]:
            _check_torchscript_code(name, content)


def _pickle_in(data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            with archive.open(names[0]) as member:
                return member.read(PICKLE_LIMIT)
    except ZIP_ERRORS:
        return b""


def _check_torchscript_pickle(name: str, content: bytes) -> None:
    for imported in pickle_imports(content):
        if not TORCHSCRIPT_GLOBALS.fullmatch(imported):
            raise SuspectError(f"its member {name} imports {imported}")


def _check_torchscript_code(name: str, content: bytes) -> None:
    """Look for the words in the source, and again in its strings once unescaped."""
    try:
        code = content.decode("ascii")
        strings = [
            node.value
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise SuspectError(f"its code in {name} cannot be read") from None
    for text in (code, *strings):
        if word := FORBIDDEN_WORDS.search(text):
            raise SuspectError(
                f"its code in {name} uses `{word[0]}`, which can write or read files"
            )


def _imports(pickle: io.BytesIO) -> Iterator[str]:
    """Follow the strings of one pickle only as far as an import needs them.

    ``recent`` has strings that are certainly on top of the stack; any other instruction empties it,
    so that a name is either read correctly or reported as unknown.
    """
    recent: list[str | None] = []
    memo: dict[int, str | None] = {}
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in IMPORTS:
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            pair = recent[-2:]
            yield UNKNOWN if len(pair) < 2 or None in pair else f"{pair[0]}.{pair[1]}"
        elif opcode.name in EXTENSIONS:
            yield UNKNOWN
        if opcode.name in STRINGS:
            recent.append(str(argument))
        elif opcode.name in MEMO_READS:
            recent.append(memo.get(int(argument or 0)))
        elif opcode.name in MEMO_WRITES:
            index = len(memo) if opcode.name == "MEMOIZE" else int(argument or 0)
            memo[index] = recent[-1] if recent else None
        else:
            recent.clear()
