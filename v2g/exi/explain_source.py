"""Generated codec source in readable form: four spaces, one statement per line, with the field of each line."""

from typing import Final

from v2g.exi.declare import Element
from v2g.exi.decoder import write_decoder
from v2g.exi.encoder import write_encoder
from v2g.exi.model import model_of
from v2g.exi.source import SourceText

_INDENT: Final = "    "
_WIDTH: Final = 100


def readable_source(declaration: type[Element]) -> str:
    """Return the decoder and the encoder of a type, as the codec generates and runs them.

    Functions of other types are only named: `d_` decodes, `z_` decodes with the preceding zero bit, `e_` encodes.
    `C_` is a class, `K_` the members of an enumeration by number or the numbers by member, `F_` the automaton of
    mixed content. In a decoder `w` has the unread bits, of which there are `n`; in an encoder `a` has the bits written
    after a leading 1, `b` and `k` are the first code and the width of the current state.
    """
    model = model_of(declaration)
    parts = []
    for title, write in (("decoder", write_decoder), ("encoder", write_encoder)):
        source = SourceText()
        write(model, source)
        parts.append(f"# {declaration.__name__}: {title}\n{_readable(source)}")
    return "\n\n".join(parts)


def _readable(source: SourceText) -> str:
    lines: list[str] = []
    label = ""
    for line, about in zip(source.lines, source.labels, strict=True):
        code = line.lstrip(" ")
        indent = _INDENT * (len(line) - len(code))
        if about != label and about and not code.startswith(("else:", "elif ")):
            lines.append(f"{indent}# {about}")
        label = about
        head, colon, rest = code.partition(": ")
        if colon and head.split(" ", 1)[0] in ("if", "elif", "else", "while", "for"):
            lines.append(f"{indent}{head}:")
            lines += [f"{indent}{_INDENT}{each}" for each in _statements(rest)]
        else:
            lines += [f"{indent}{each}" for each in _statements(code)]
    # split a long call, the one that creates the struct, into one argument per line
    line = lines[-1]
    head, _, arguments = line.partition("(")
    if len(line) <= _WIDTH:
        lines[-1:] = [line]
    else:
        inner = " " * (len(line) - len(line.lstrip(" ")) + 4)
        lines[-1:] = [f"{head}(", *(f"{inner}{each}," for each in arguments[:-1].split(", ")), f"{inner[4:]})"]
    return "\n".join(lines)


def _statements(code: str) -> list[str]:
    return code.split("; ")
