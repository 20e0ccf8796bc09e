"""Readable management messages: declared ones field by field, others in hexadecimal."""

from typing import Final

import msgspec

from v2g.errors import FrameError
from v2g.slac import mme
from v2g.slac.layout import codec_of

_MODES: Final = ("REQ", "CNF", "IND", "RSP")

_OTHERS: Final = {
    0x0000: "CC_CCO_APPOINT",
    0x0014: "CC_DISCOVER_LIST",
    0x6000: "CM_UNASSOCIATED_STA",
    0x6004: "CM_ENCRYPTED_PAYLOAD",
    0x6010: "CM_SC_JOIN",
    0x6014: "CM_CHAN_EST",
    0x6018: "CM_TM_UPDATE",
    0x6020: "CM_BRG_INFO",
    0x6034: "CM_STA_CAP",
    0x6038: "CM_NW_INFO",
    0x603C: "CM_GET_BEACON",
    0x6040: "CM_HFID",
    0x6044: "CM_MME_ERROR",
    0x6080: "CM_SLAC_USER_DATA",
}
"""Messages known by name only."""


class Description(msgspec.Struct, frozen=True):
    """One frame. `name` is that of the specification, or the type in hexadecimal; `fields` are names and texts.

    `problem` says why the fields could not be decoded; the only field is the payload then.
    """

    destination: str
    source: str
    name: str
    version: int
    fields: tuple[tuple[str, str], ...]
    problem: str = ""

    def __str__(self) -> str:
        texts = "  ".join(f"{name}={text}" for name, text in self.fields)
        return f"{self.source} > {self.destination}  {self.name}  {texts}" + f"  ({self.problem})" * bool(self.problem)


def describe(frame: bytes, *, secrets: bool = False) -> Description:
    """Return the description of an Ethernet frame. Never raises; keys are shown with `secrets` only."""
    try:
        message = mme.decode(frame).message
    except FrameError as error:
        return _unknown(frame, str(error))
    fields = tuple(codec_of(type(message)).texts(message, secrets=secrets))
    return Description(frame[:6].hex(":"), frame[6:12].hex(":"), message.name(), frame[14], fields)


def _unknown(frame: bytes, problem: str) -> Description:
    try:
        header = mme.read_header(frame)
    except FrameError:
        return Description(frame[:6].hex(":"), frame[6:12].hex(":"), "not a message", 0, (("data", _hex(frame[12:])),),
                           problem)  # fmt: skip
    base = header.mmtype & ~3
    name = f"{_OTHERS.get(base, f'{base:#06x}')}.{_MODES[header.mmtype & 3]}"
    known = mme.CODECS.get((header.mmtype, header.version > 0, header.oui))
    payload = _hex(frame[header.payload_at :])
    if known is not None:
        name, payload = known.message.name(), "(not shown: may hold a key)" if known.holds_secrets else payload
    fields = (("oui", header.oui.hex()),) * bool(header.oui) + (("payload", payload),)
    return Description(frame[:6].hex(":"), frame[6:12].hex(":"), name, header.version, fields, problem)


def _hex(data: bytes) -> str:
    return data.hex() or "-"
