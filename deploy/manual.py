"""Manual pages and shell completion of the package, from what `--help` shows: `python -m deploy.manual FOLDER`.

A page for `v2g` and one for each of its commands, with their sub-commands; completion for bash, zsh and fish asks the
program itself, so it is never older than that.
"""

import gzip
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # imported there
from typer.main import get_command

from v2g_cli.main import COMPLETE, app

PROGRAM: Final = "v2g"

COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/v2g",
    "zsh": "usr/share/zsh/vendor-completions/_v2g",
    "fish": "usr/share/fish/vendor_completions.d/v2g.fish",
}
"""Where each shell looks for it."""

PAGES: Final = "usr/share/man/man1"


def write(root: Path, version: str) -> None:
    """Write all pages, compressed, and all completions below a system's root."""
    for shell, place in COMPLETIONS.items():
        script = get_completion_script(prog_name=PROGRAM, complete_var=COMPLETE, shell=shell)
        _made(root / place).write_text(script + "\n")
    for name, text in pages(version):
        _made(root / PAGES / f"{name}.1.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def pages(version: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the text (roff) of each page."""
    top = _opened(get_command(app), PROGRAM, None)
    below = dict(_below(top))
    yield PROGRAM, _page(PROGRAM, top, version, [f"{PROGRAM}-{each}" for each in below])
    for name, context in below.items():
        yield f"{PROGRAM}-{name}", _page(f"{PROGRAM}-{name}", context, version, [PROGRAM])


def _opened(command: Any, name: str, parent: Any) -> Any:
    """Return a command's context; that of a group which is imported when it is called has the group itself."""
    return command.make_context(name, [], parent=parent, resilient_parsing=True)


def _below(context: Any) -> Iterator[tuple[str, Any]]:
    """Yield the sub-commands of a group that `--help` lists."""
    if not hasattr(context.command, "list_commands"):
        return
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        if not command.hidden:
            yield name, _opened(command, name, context)


def _page(name: str, context: Any, version: str, others: list[str]) -> str:
    about = _plain(context.command.get_short_help_str(200)).rstrip(".")
    lines = [f'.TH "{name.upper()}" "1" "" "v2g\\-engine {_plain(version)}"', ".ad l", ".SH NAME"]
    lines += [f"{_plain(name)} \\- {about}", ".SH SYNOPSIS", _usage(context), ".SH DESCRIPTION"]
    lines += [*_help(context), *_options(context, ".SH OPTIONS")]
    below = list(_below(context))
    if name == PROGRAM:
        lines += [".SH COMMANDS"]
        for each, sub in below:
            lines += [".TP", f"\\fB{_plain(each)}\\fR", _plain(sub.command.get_short_help_str(200))]
    else:
        lines += [line for _, sub in _all(below) for line in _section(sub)]
    lines += [".SH SEE ALSO", ", ".join(f"\\fB{_plain(each)}\\fR(1)" for each in others)]
    return "\n".join(lines) + "\n"


def _all(below: list[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, context in below:
        yield name, context
        yield from _all(list(_below(context)))


def _section(context: Any) -> list[str]:
    heading = f'.SH "{_plain(context.command_path).upper()}"'
    return [heading, _usage(context), ".PP", *_help(context), *_options(context)]


def _usage(context: Any) -> str:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return f"\\fB{_plain(context.command_path)}\\fR {_plain(pieces)}"


def _help(context: Any) -> list[str]:
    paragraphs = (context.command.help or "").split("\n\n")
    return [line for each in paragraphs for line in (_plain(" ".join(each.split())), ".PP") if each.strip()]


def _options(context: Any, *head: str) -> list[str]:
    records = [each.get_help_record(context) for each in context.command.get_params(context)]
    lines = [
        line for each in records if each for line in (".TP", f"\\fB{_plain(each[0])}\\fR", _plain(each[1]) or "\\&")
    ]
    return [*head, *lines] if lines else []


def _plain(text: str) -> str:
    """Return text for roff, code in bold."""
    escaped = click.unstyle(" ".join(text.split())).replace("\\", "\\e").replace("-", "\\-")
    escaped = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", escaped)
    return re.sub(r"^([.'])", r"\\&\1", escaped)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    from importlib.metadata import version as version_of

    write(Path(sys.argv[1]), version_of("v2g-engine"))
