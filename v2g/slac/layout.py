"""Binary layouts derived from message declarations.

A message is a frozen msgspec Struct whose fields are in wire order, each `Annotated` with a Layout, a Sized or an
Items. Packing, unpacking and readable texts are derived from it.
"""

import functools
import re
import struct
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar, get_args

import msgspec

from v2g.errors import FrameError
from v2g.typed_json import Fields

M = TypeVar("M", bound=msgspec.Struct)

Shown = Literal["auto", "mac", "text", "secret"]


class MmeLayout(msgspec.Struct, frozen=True):
    """Encoding of one field, little endian.

    `code` is a format of the `struct` module for one value. `pad` reserved bytes follow, sent as zero and
    ignored. A field with `fixed` must have that value when received. `words` names values; `shown` is the display of
    bytes: hexadecimal (`auto`), as an address, as text, or not at all.
    """

    code: str
    pad: int = 0
    fixed: int | None = None
    words: tuple[str, ...] = ()
    shown: Shown = "auto"

    @property
    def size(self) -> int:
        """Bytes, without reserved ones."""
        return struct.calcsize("<" + self.code)


class Sized(msgspec.Struct, frozen=True):
    """A field whose length in bytes, or half-bytes (`nibbles`, rounded up), is in the field `by`."""

    by: str
    nibbles: bool = False
    shown: Shown = "auto"


class Items(msgspec.Struct, frozen=True):
    """A field whose number of records is in the field `by`; its type is tuple[Record, ...]."""

    by: str


U8 = Annotated[int, MmeLayout("B")]
U16 = Annotated[int, MmeLayout("H")]
U32 = Annotated[int, MmeLayout("I")]
Zero = Annotated[int, MmeLayout("B", fixed=0)]
Mac = Annotated[bytes, MmeLayout("6s", shown="mac")]

HIDDEN: Final = "(secret)"


class Mme(msgspec.Struct, frozen=True, kw_only=True):
    """A management message. MMV 1 and 2 have fragmentation fields, a vendor's messages its OUI before the payload."""

    MMTYPE: ClassVar[int]
    MMV: ClassVar[int] = 1
    OUI: ClassVar[bytes] = b""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={text}" for name, text in codec_of(type(self)).texts(self))
        return f"{type(self).__name__}({fields})"

    @classmethod
    def name(cls) -> str:
        """Return the name that specifications use: CM_SLAC_PARM.REQ."""
        *words, mode = re.findall(r"[A-Z][a-z0-9]*", cls.__name__)
        return f"{'_'.join(words)}.{mode}".upper()


class RecordType(msgspec.Struct, frozen=True, kw_only=True):
    """A repeated part of a message."""


class _Fixed(msgspec.Struct, frozen=True):
    """Neighbouring fields of fixed size."""

    struct: struct.Struct
    names: tuple[str, ...]


class Codec(Generic[M]):
    """Packs and unpacks the payload of one message class."""

    def __init__(self, message: type[M]) -> None:
        self.message = message
        self._layouts: dict[str, MmeLayout | Sized | Items] = {}
        self._records: dict[str, Codec[Any]] = {}
        self._parts: list[_Fixed | str] = []  # a name is that of a field of variable size
        self._sizes: dict[str, int] = {}
        names: list[str] = []
        for field in msgspec.structs.fields(message):
            declared, layout = get_args(field.type)
            self._layouts[field.name] = layout
            if isinstance(layout, MmeLayout):
                names.append(field.name)
                if layout.code.endswith("s"):
                    self._sizes[field.name] = struct.calcsize(layout.code)
                continue
            if isinstance(layout, Items):
                self._records[field.name] = Codec(get_args(declared)[0])
            self._close(names)
            self._parts.append(field.name)
            names = []
        self._close(names)
        self._fixed = {
            name: layout.fixed
            for name, layout in self._layouts.items()
            if isinstance(layout, MmeLayout) and layout.fixed is not None
        }

    def _close(self, names: list[str]) -> None:
        if names:
            layouts = [self._layouts[name] for name in names]
            code = "".join(
                each.code + f"{each.pad}x" * bool(each.pad) for each in layouts if isinstance(each, MmeLayout)
            )
            self._parts.append(_Fixed(struct.Struct("<" + code), tuple(names)))

    def layout(self, field: str) -> "MmeLayout | Sized | Items":
        """Return the encoding of a field."""
        return self._layouts[field]

    @property
    def size(self) -> int:
        """Payload length (bytes), without parts of variable size."""
        return sum(part.struct.size for part in self._parts if isinstance(part, _Fixed))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Fields that must not be displayed."""
        layouts = self._layouts.items()
        return tuple(name for name, each in layouts if not isinstance(each, Items) and each.shown == "secret")

    @property
    def holds_secrets(self) -> bool:
        """Whether a field must not be displayed."""
        return bool(self.secrets)

    def pack(self, message: M) -> bytes:
        """Return the payload of `message`. Raises FrameError for a value that does not fit its field."""
        for name, size in self._sizes.items():
            if len(getattr(message, name)) != size:
                raise FrameError(f"{self.message.__name__}.{name} needs {size} bytes")
        return b"".join(self._packed(message))

    def _packed(self, message: M) -> Iterator[bytes]:
        for part in self._parts:
            if isinstance(part, _Fixed):
                try:
                    yield part.struct.pack(*(getattr(message, name) for name in part.names))
                except struct.error as error:
                    raise FrameError(f"{self.message.__name__}: {error}") from None
                continue
            layout, value = self._layouts[part], getattr(message, part)
            if len(value) != self._count(layout, message):
                raise FrameError(f"{self.message.__name__}.{part} does not have the length announced")
            if isinstance(layout, Items):
                yield from (self._records[part].pack(each) for each in value)
            else:
                yield value

    def unpack(self, payload: bytes) -> M:
        """Return the message at the start of `payload`; the rest is padding.

        Raises FrameError when it is too short or a fixed field has another value.
        """
        return self.unpack_at(payload, 0)[0]

    def unpack_at(self, payload: bytes, at: int) -> tuple[M, int]:
        """Return the message at `at`, and its end; see `unpack`."""
        values: Fields = {}
        for part in self._parts:
            if isinstance(part, _Fixed):
                end = at + part.struct.size
                if len(payload) < end:
                    raise FrameError(f"{self.message.__name__} needs {end} bytes, has {len(payload)}")
                values.update(zip(part.names, part.struct.unpack_from(payload, at), strict=True))
                at = end
                continue
            layout = self._layouts[part]
            count = self._count(layout, values)
            if isinstance(layout, Items):
                items = []
                for _ in range(count):
                    item, at = self._records[part].unpack_at(payload, at)
                    items.append(item)
                values[part] = tuple(items)
            else:
                values[part] = payload[at : at + count]
                if len(values[part]) != count:
                    raise FrameError(f"{self.message.__name__} announces {count} bytes, {len(values[part])} follow")
                at += count
        for field, fixed in self._fixed.items():
            if values[field] != fixed:
                raise FrameError(f"{self.message.__name__}.{field} is {values[field]}, must be {fixed}")
        return self.message(**values), at

    def texts(self, message: M, *, secrets: bool = False) -> Iterator[tuple[str, str]]:
        """Yield name and text of each field; keys only with `secrets`."""
        for name, layout in self._layouts.items():
            value = getattr(message, name)
            if isinstance(layout, Items):
                codec = self._records[name]
                records = (
                    " ".join(f"{key}={text}" for key, text in codec.texts(each, secrets=secrets)) for each in value
                )
                yield name, "[" + "; ".join(records) + "]"
            else:
                yield name, _text(value, layout, secrets=secrets)

    @staticmethod
    def _count(layout: MmeLayout | Sized | Items, values: object) -> int:
        assert not isinstance(layout, MmeLayout)
        count: int = values[layout.by] if isinstance(values, dict) else getattr(values, layout.by)
        return (count + 1) // 2 if isinstance(layout, Sized) and layout.nibbles else count


def _text(value: Any, layout: MmeLayout | Sized, *, secrets: bool) -> str:
    if isinstance(value, int):
        words = layout.words if isinstance(layout, MmeLayout) else ()
        return f"{value} ({words[value]})" if value < len(words) and words[value] else str(value)
    if layout.shown == "secret" and not secrets:
        return HIDDEN
    if layout.shown == "mac":
        return str(value.hex(":"))
    if layout.shown == "text":
        return str(value.rstrip(b"\0"), "ascii", "backslashreplace")
    return str(value.hex()) if value.strip(b"\0") else f"{len(value)} zeros" if value else "-"


@functools.cache
def codec_of(message: type[M]) -> Codec[M]:
    """Return the codec of a message class, created once."""
    return Codec(message)
