"""Any management message that is declared, with values its fields can hold."""

import struct
from typing import Any, get_args, get_type_hints

import msgspec
from hypothesis import strategies as st

from v2g.slac import mme
from v2g.slac.layout import Items, Mme, MmeLayout, Sized, codec_of

MESSAGES = [codec.message for codec in mme.CODECS.values()]


def _texts(size: int) -> st.SearchStrategy[bytes]:
    return st.text("ABCXYZabcyz0189.-", min_size=1, max_size=size).map(str.encode)


def _ended(text: bytes) -> bytes:
    return text + b"\0"


def _of_layout(layout: MmeLayout) -> st.SearchStrategy[Any]:
    if layout.fixed is not None:
        return st.just(layout.fixed)
    if layout.shown == "text":
        return _texts(layout.size).map(lambda text: text.ljust(layout.size, b"\0"))
    if layout.code.endswith("s"):
        return st.binary(min_size=layout.size, max_size=layout.size)
    return st.integers(0, 2 ** (8 * struct.calcsize("<" + layout.code)) - 1)


@st.composite
def structs(draw: st.DrawFn, message: type[msgspec.Struct]) -> Any:
    """Draw a message or record; the fields that announce a length tell the truth."""
    hints = get_type_hints(message, include_extras=True)
    layouts = {field.name: codec_of(message).layout(field.name) for field in msgspec.structs.fields(message)}
    values = {name: draw(_of_layout(layout)) for name, layout in layouts.items() if isinstance(layout, MmeLayout)}
    for name, layout in layouts.items():
        if isinstance(layout, Items):
            record = get_args(get_args(hints[name])[0])[0]
            values[name] = tuple(draw(st.lists(structs(record), max_size=3)))
            values[layout.by] = len(values[name])
        elif isinstance(layout, Sized):
            values[name] = draw(_texts(57).map(_ended) if layout.shown == "text" else st.binary(max_size=58))
            values[layout.by] = len(values[name]) * (2 if layout.nibbles else 1)
    return message(**values)


def messages(*kinds: type[Mme]) -> st.SearchStrategy[Mme]:
    """Draw one of these kinds, or of all."""
    return st.sampled_from(kinds or tuple(MESSAGES)).flatmap(structs)
