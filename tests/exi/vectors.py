"""Messages with the octets that an independent encoder made of them; see tests/vectors/exi/README.md."""

import json
from pathlib import Path
from typing import Any

import msgspec

from v2g.iso15118.select import NAMESPACES

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "exi"


class Vector(msgspec.Struct, frozen=True):
    """One line of a vector file."""

    namespace: str
    message: str
    variant: str
    fragment: bool
    xml: str | None
    json: dict[str, Any] | None
    exi_hex: str

    @property
    def octets(self) -> bytes:
        """The stream."""
        return bytes.fromhex(self.exi_hex)

    @property
    def name(self) -> str:
        """Name of the element, without a remark."""
        return self.message.partition("(")[0]

    @property
    def root(self) -> str:
        """Name of the element that the stream begins with: in -2 and DIN 70121 what `name` says is in a body."""
        return "V2G_Message" if self.namespace.endswith(":MsgDef") and not self.fragment else self.name

    @property
    def schema(self) -> Any:
        """The grammar that the stream is in."""
        return NAMESPACES[self.namespace]


def load(*names: str) -> list[Vector]:
    """Return the vectors of some files, all of them by default."""
    paths = [FOLDER / f"{name}.jsonl" for name in names] or sorted(FOLDER.glob("*.jsonl"))
    return [
        msgspec.convert(json.loads(line), Vector) for path in paths for line in path.read_text("utf-8").splitlines()
    ]
