"""A torch.export archive (.pt2), reduced to what can be loaded without running its contents.

torch.export.load turns text of the file into Python: tensor names become generated source,
shape expressions go through sympy's eval, guards through exec, pytree contexts import modules,
some weights and the sample inputs are pickles, and compiled archives bring shared libraries. So
every string of the program has to match what torch.export.save writes in that place, and every
member has to be one it writes. Metadata and guards, which the loader does not need, are dropped.
"""

import ast
import io
import json
import keyword
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch

from edgecnn_export.loading.pickle_scan import SuspectError, imports_of, unsafe_imports

PROGRAM = "models/model.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
REQUIRED = (PROGRAM, SAMPLE_INPUTS, WEIGHTS, CONSTANTS, "archive_format", "archive_version")
HARMLESS = re.compile(
    r"data/(weights/weight_\d+|constants/tensor_\d+)|byteorder|\.data/\w+|archive_(format|version)"
)
EXTRA = re.compile(r"extra/.+")

OPERATOR = re.compile(
    r"""torch\.ops\.(aten|prims)\.(?!save\b|from_file\b)\w+\.\w+
    | torch\.ops\.higher_order\.(cond|wrap_with_set_grad_enabled)
    | _operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|getitem)
    | torch\.sym_(max|min|not|float|int|ite|sum)
    | math\.(ceil|floor|trunc)
    """,
    re.VERBOSE,
)
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DOTTED = re.compile(r"[A-Za-z0-9_.]*")
SYMBOL = re.compile(r"[a-z]{1,4}[0-9]{1,4}")
PATH = re.compile(r"(weight|tensor)_[0-9]+")
MODULE_STACK = re.compile(r"[\w.,;@\[\]()' ]*")
EXPRESSION = re.compile(r"[A-Za-z0-9_ ,()'=.-]{1,4000}")
GUARD = re.compile(r"(?!.*__)[\w\[\]'(). +*/%<>=!,-]*")
EXPONENT = re.compile(r"Integer\(-?[0-8]\)")
NO_NUMBER = re.compile(r"-?Infinity|NaN")
SHORT = re.compile(r".{,100}", re.DOTALL)
CONTAINERS = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
SYMPY = {
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Mod", "floor",
    "ceiling", "Abs", "Equality", "Unequality", "StrictLessThan", "StrictGreaterThan", "LessThan",
    "GreaterThan", "And", "Or", "Not", "Where", "FloorDiv", "CeilDiv", "CleanDiv", "PythonMod",
    "ModularIndexing", "IntTrueDiv", "FloatTrueDiv", "PowByNatural", "FloatPow", "ToFloat",
    "CeilToInt", "FloorToInt", "TruncToInt", "TruncToFloat", "RoundToInt", "Identity",
}  # fmt: skip
Rule: TypeAlias = Callable[[str], object]
"""Whether a string may stand where it does: true or false, or a match or None."""
FORBIDDEN_KEYS = {
    "as_custom_obj", "custom_obj", "class_fqn", "as_operator", "as_string_to_argument",
    "constant_input",
}  # fmt: skip
"""Objects with unpicklers of their own, operators passed as values, and constants that end up
inside generated source."""


def clean_pt2(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """The members that torch.export.load may read.

    Raises:
        SuspectError: A member or a part of the program is unknown.
    """
    if missing := [name for name in REQUIRED if name not in members]:
        raise SuspectError(f"its member {missing[0]} is missing")
    clean: dict[str, bytes] = {}
    for name, content in members.items():
        if name == PROGRAM:
            clean[name] = _program(content)
        elif name in {WEIGHTS, CONSTANTS}:
            clean[name] = _payloads(name, content)
        elif name == SAMPLE_INPUTS:
            clean[name] = _plain_pickle(name, content)
        elif HARMLESS.fullmatch(name):
            clean[name] = content
        elif not EXTRA.fullmatch(name):
            raise SuspectError(f"its member {name} is not one that torch.export.save writes")
    return clean


def _program(content: bytes) -> bytes:
    program = _json(PROGRAM, content)
    _check(program, "")
    program["guards_code"] = []
    return json.dumps(program).encode()


def _payloads(name: str, content: bytes) -> bytes:
    payloads = _json(name, content)
    for weight, meta in payloads.get("config", {}).items():
        if not isinstance(meta, dict) or meta.get("use_pickle") is not False:
            raise SuspectError(f"its {weight} in {name} is pickled")
    _check(payloads, "")
    return json.dumps(payloads).encode()


def _plain_pickle(name: str, content: bytes) -> bytes:
    """torch reads it with weights_only first, and without it only if that fails."""
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:
        names = ", ".join(unsafe_imports(imports_of(content))[:3])
        reason = f"imports {names}" if names else "cannot be read"
        raise SuspectError(f"its member {name} {reason}") from None
    return content


def _json(name: str, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SuspectError(f"its member {name} is not the JSON it should be")
    return value


def _check(value: Any, key: str) -> None:
    """Check every string below ``value`` by the rule for its key."""
    if isinstance(value, list):
        for inside in value:
            _check(inside, key)
    elif isinstance(value, dict):
        if key in {"nodes", "graph_module"}:
            value["metadata"] = _module_stack(value.get("metadata"))
        if key in {"device", "as_device"}:
            value.update(type="cpu", index=None)
        for name, inside in value.items():
            if name in FORBIDDEN_KEYS:
                raise SuspectError(f"its program uses {name}")
            if not _matches(SYMBOL if key == "range_constraints" else DOTTED, name):
                raise SuspectError(f"its program has a key {name[:80]!r}")
            _check(inside, name)
    elif isinstance(value, str) and not (key in STRINGS and STRINGS[key](value)):
        raise SuspectError(f"its program has {value[:80]!r} for {key or 'a value'}")


def _module_stack(metadata: object) -> dict[str, str]:
    """The module of the source a node came from, if it is written as such; nothing else."""
    stack = metadata.get("nn_module_stack", "") if isinstance(metadata, dict) else ""
    return {"nn_module_stack": stack} if stack and _matches(MODULE_STACK, stack) else {}


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def _is_name(text: str) -> bool:
    return _matches(IDENTIFIER, text) and not keyword.iskeyword(text)


def _is_expression(text: str) -> bool:
    """sympy's srepr of a shape, such as ``Add(Symbol('s0', integer=True), Integer(-2))``."""
    if not _matches(EXPRESSION, text):
        return False
    try:
        return all(_is_sympy(node) for node in ast.walk(ast.parse(text, mode="eval")))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


def _is_sympy(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in SYMPY
        power = named and "Pow" in ast.unparse(node.func)
        return named and (not power or _matches(EXPONENT, ast.unparse(node.args[-1])))
    if isinstance(node, ast.Name):
        return node.id in SYMPY or _matches(SYMBOL, node.id)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool | int | float) or _matches(SYMBOL, node.value)
    return isinstance(node, ast.Expression | ast.Load | ast.keyword | ast.UnaryOp | ast.USub)


def _is_treespec(text: str, rule: Rule) -> bool:
    """How arguments nest: ``[1, {"type": "builtins.tuple", "context": "null", …}]``."""
    try:
        version, spec = json.loads(text)
        return version == 1 and _is_tree(spec, rule)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _is_tree(spec: dict[str, Any], rule: Rule) -> bool:
    if spec["type"] is None:
        return spec["context"] is None and spec["children_spec"] == []
    names = json.loads(spec["context"])
    if names is None:
        names = []
    plain = isinstance(names, list) and all(isinstance(name, str) and rule(name) for name in names)
    known = plain and spec["type"] in CONTAINERS
    return known and all(_is_tree(child, rule) for child in spec["children_spec"])


STRINGS: Mapping[str, Rule] = {
    "name": lambda text: text == "" or _is_name(text),
    **dict.fromkeys(("as_name", "forward_arg_names", "verifiers"), _is_name),
    **dict.fromkeys(
        ("fqn", "parameter_name", "buffer_name", "tensor_constant_name"), DOTTED.fullmatch
    ),
    **dict.fromkeys(("as_string", "as_strings", "torch_version"), SHORT.fullmatch),
    **dict.fromkeys(("as_float", "as_floats"), NO_NUMBER.fullmatch),
    "guards_code": GUARD.fullmatch,
    "target": OPERATOR.fullmatch,
    "expr_str": _is_expression,
    "in_spec": lambda text: _is_treespec(text, _is_name),
    "out_spec": lambda text: _is_treespec(text, DOTTED.fullmatch),
    "path_name": PATH.fullmatch,
    "type": lambda text: text == "cpu",
    "nn_module_stack": MODULE_STACK.fullmatch,
}
"""The rule for strings of each key in torch's schema; under any other key they are refused."""
