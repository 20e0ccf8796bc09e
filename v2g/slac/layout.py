"""Fixed binary layouts derived from message declarations.

A message is a frozen msgspec Struct whose fields stand in wire order, each `Annotated` with a Layout. From that
comes one `struct.Struct` per message; nothing is packed or unpacked by hand.
"""

import struct
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

import msgspec

from v2g.errors import FrameError

M = TypeVar("M", bound=msgspec.Struct)


class Layout(msgspec.Struct, frozen=True):
    """How one field lies on the wire, little endian.

    `code` is a format of the `struct` module for one value. `pad` reserved bytes follow, sent as zero and not looked
    at. A field with `fixed` must have that value when received.
    """

    code: str
    pad: int = 0
    fixed: int | None = None


class Rest(msgspec.Struct, frozen=True):
    """The last field of a message: as many bytes as half of the field `nibbles_in`, rounded up."""

    nibbles_in: str


U8 = Annotated[int, Layout("B")]
U16 = Annotated[int, Layout("H")]
Zero = Annotated[int, Layout("B", fixed=0)]
Mac = Annotated[bytes, Layout("6s")]


class Codec(Generic[M]):
    """Packs and unpacks the payload of one message class."""

    def __init__(self, message: type[M]) -> None:
        self.message = message
        hints = get_type_hints(message, include_extras=True)
        code, self._names, self._sizes, self._fixed = "<", [], {}, {}
        self._rest: tuple[str, str] | None = None
        for field in msgspec.structs.fields(message):
            layout = hints[field.name].__metadata__[0]
            if isinstance(layout, Rest):
                self._rest = (field.name, layout.nibbles_in)
                continue
            code += layout.code + f"{layout.pad}x" * bool(layout.pad)
            self._names.append(field.name)
            if layout.code.endswith("s"):
                self._sizes[field.name] = struct.calcsize(layout.code)
            if layout.fixed is not None:
                self._fixed[field.name] = layout.fixed
        self._struct = struct.Struct(code)

    @property
    def size(self) -> int:
        """Payload length (bytes), without the variable rest."""
        return self._struct.size

    def pack(self, message: M) -> bytes:
        """Return the payload of `message`. Raises FrameError for a value that its field cannot hold."""
        values: list[Any] = [getattr(message, name) for name in self._names]
        for name, size in self._sizes.items():
            if len(getattr(message, name)) != size:
                raise FrameError(f"{self.message.__name__}.{name} needs {size} bytes")
        try:
            payload = self._struct.pack(*values)
        except struct.error as error:
            raise FrameError(f"{self.message.__name__}: {error}") from None
        if self._rest is None:
            return payload
        rest: bytes = getattr(message, self._rest[0])
        if len(rest) != _nibble_bytes(getattr(message, self._rest[1])):
            raise FrameError(f"{self.message.__name__}.{self._rest[0]} does not have the length announced")
        return payload + rest

    def unpack(self, payload: bytes) -> M:
        """Return the message that `payload` starts with; what follows is padding.

        Raises FrameError when it is too short or a fixed field has another value.
        """
        name = self.message.__name__
        if len(payload) < self._struct.size:
            raise FrameError(f"{name} needs {self._struct.size} bytes, has {len(payload)}")
        values = dict(zip(self._names, self._struct.unpack_from(payload), strict=True))
        for field, fixed in self._fixed.items():
            if values[field] != fixed:
                raise FrameError(f"{name}.{field} is {values[field]}, must be {fixed}")
        if self._rest is not None:
            length = _nibble_bytes(values[self._rest[1]])
            rest = payload[self._struct.size : self._struct.size + length]
            if len(rest) != length:
                raise FrameError(f"{name} announces {length} bytes, {len(rest)} follow")
            values[self._rest[0]] = rest
        return self.message(**values)


def _nibble_bytes(count: int) -> int:
    return (count + 1) // 2
