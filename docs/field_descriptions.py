"""For the site: a configuration field's description, which --help prints, is its documentation.

Such a field is written ``name: Annotated[Type, Meta(description="…")]`` or ``Annotated[Type,
cli_help("…")]``. The page shows its type without the annotation.
"""

import ast
from typing import Any

import griffe


class FieldDescriptions(griffe.Extension):
    """Moves the text of an annotation into the field's docstring."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Find the description among the arguments of ``Annotated``."""
        annotation = attr.annotation
        if not isinstance(annotation, griffe.ExprSubscript) or str(annotation.left) != "Annotated":
            return
        kind, *details = annotation.slice.elements
        for call in (detail for detail in details if isinstance(detail, griffe.ExprCall)):
            texts = [
                part for part in ast.walk(ast.parse(str(call))) if isinstance(part, ast.Constant)
            ]
            if texts and str(call.function) in {"Meta", "cli_help"}:
                attr.docstring = griffe.Docstring(str(texts[0].value), parent=attr)
                attr.annotation = kind
