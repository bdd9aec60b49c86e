"""Writes docs/commands.md from the commands themselves: ``make docs``."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from edgecnn.cli import COMMANDS, Parser, import_command

PAGE = Path(__file__).with_suffix(".md")

HEAD = """\
# Commands

`make docs` writes this page from the commands themselves. `edgecnn COMMAND --help` prints the same.

Commands whose output a script might read take `--json`; an error is then one JSON object with
`error`, `message` and `exit`. Tables go to standard output, progress to standard error.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | anything else: the disk is full, a permission is missing |
| 2 | a flag, key, path or value cannot be right |
| 3 | something was measured and is not good enough, or a bundle differs from its manifest |
| 4 | this version cannot take the model, the checkpoint is damaged, or the file could run code |
| 5 | an inference engine or an extra is not installed |
| 6 | a camera, stream or file cannot be opened, or was lost |
| 130 | interrupted with Ctrl-C |

The flags of `export` are also the keys of `--spec model.yaml` and of the spec that
`edgecnn.save_checkpoint` writes, with `_` for `-` (`--crop-pct` is `crop_pct`). A flag overrides
the YAML file, and the YAML file overrides the checkpoint. An unknown key or an impossible value is
an error that names file, line and key.
"""


def page() -> str:
    """The whole of commands.md."""
    return "\n".join([HEAD, *(section(name) for name in COMMANDS)])


def section(name: str) -> str:
    """One command: what it does, an example, its flags."""
    module = import_command(name)
    parser = Parser(prog=f"edgecnn {name}", add_help=False)
    module.add_arguments(parser)
    example = "\n".join(line.removeprefix("  ") for line in module.EXAMPLE.strip("\n").splitlines())
    summary = COMMANDS[name]
    head = f"## edgecnn {name}\n\n{summary[0].upper()}{summary[1:]}.\n\n```\n{example}\n```\n"
    return head + "\n| argument | meaning |\n| --- | --- |\n" + "\n".join(rows(parser)) + "\n"


def rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A table row an argument, in the order of --help."""
    for group in parser._action_groups:
        for action in group._group_actions:
            about = _cell((action.help or "").replace("%%", "%"))
            name = str(action.metavar or action.dest)
            if action.option_strings:
                value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
                name = action.option_strings[0] + value
            yield f"| {_code(name)} | {about} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    """Text as code; GitHub and MkDocs disagree about a vertical bar between backticks."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


if __name__ == "__main__":
    PAGE.write_text(page())
