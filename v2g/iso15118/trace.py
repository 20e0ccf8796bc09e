"""The trace of a conversation: one JSON line per message or fact (pure; `v2g.io.runtime.trace`
writes).

A line is self-contained: content, time, direction, and state of the conversation. Sealed contract keys are
withheld; secrets (private keys, network keys, TLS secrets, passphrases) never get here.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Literal

import msgspec

from v2g import typed_json
from v2g.asn1.discharge import decode_content, decode_signed
from v2g.errors import Asn1Error, CodecError
from v2g.exi.declare import Element
from v2g.exi.json import to_object
from v2g.exi.model import model_of
from v2g.iso15118.engine.v2g_message import body_of
from v2g.iso15118.engine.v2gtp import PayloadType

Way = Literal["in", "out", "fact"]

_WITHHELD: Final = "EncryptedPrivateKey"
"""End of the names of elements that hold a contract's private key, sealed."""


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a trace.

    `run` identifies a conversation (`PROCESS.N`: the process and the number of the conversation), `session` its ISO
    15118 session (hex) once it has one; together they are the run id. `way` is `in` or `out` from the writing program's
    view, or `fact` for anything but a message (`stage` and `name` of the event). `state` is the state
    before and `next` that after the line: an exchange changes state with its response.
    """

    time: str
    """UTC, possibly simulated; RFC 3339 with milliseconds."""
    mono_ms: float
    """Milliseconds of the machine's monotonic clock, never scaled: answer times are differences of these."""
    run: str
    process: str
    way: Way
    name: str
    """Class name of the message, or name of the fact."""
    session: str = ""
    evse: str = ""
    """EVSE id, where a charger has several."""
    stage: str = ""
    stream: str = ""
    """V2GTP payload type by name (`COMMON`, `DC`, `METERING_CONFIRMATION`, `SIGNED_DISCHARGE`), else its number."""
    state: str = ""
    next: str = ""
    body: Any = None
    """The message in the form of `v2g.exi.json`, without its own name; data of a fact."""
    exi: str = ""
    """The payload in hexadecimal: EXI, or DER of signed discharge; empty if something is withheld."""
    withheld: tuple[str, ...] = ()
    """Omitted elements."""
    beyond: tuple[str, ...] = ()
    """Values that the bits allow and the schema does not (`v2g.exi.bits.Deviation`)."""
    error: str = ""
    """Why the payload cannot be decoded."""


class Described(msgspec.Struct, frozen=True):
    """A decoded payload."""

    name: str
    body: Any = None
    withheld: tuple[str, ...] = ()
    error: str = ""


def rfc3339(utc_ms: int) -> str:
    """Return a time in milliseconds since 1970 as text."""
    return datetime.fromtimestamp(utc_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stream_name(payload_type: int) -> str:
    try:
        return PayloadType(payload_type).name
    except ValueError:
        return f"{payload_type:#06x}"


Decode = Callable[[int, bytes], tuple[Element, int]]
"""Returns the message of a V2GTP payload and its padding: `Session.decode`."""


def describe(payload_type: int, payload: bytes, decode: Decode, message: Element | None = None) -> Described:
    """Return the content of a V2GTP payload; `decode` is that of the session. Never raises.

    `message` is the decoded payload, if already available.
    """
    try:
        if payload_type == PayloadType.SIGNED_DISCHARGE:
            return _signed(payload)
        message = message or _decode(payload_type, payload, decode)
    except (CodecError, Asn1Error) as error:
        return Described("", error=str(error))
    ((name, body),) = to_object(message).items()
    withheld: list[str] = []
    kind: type[Element] = type(body_of(message) or message)  # of a V2G_Message, what is in its body
    if _may_hold_keys(kind):
        body = _without_keys(body, name, withheld)
    return Described(kind.__name__, body, tuple(withheld))


def _decode(payload_type: int, payload: bytes, decode: Decode) -> Element:
    try:
        return decode(payload_type, payload)[0]
    except CodecError:
        if payload_type != PayloadType.SAP:
            raise
        return decode(PayloadType.COMMON, payload)[0]  # framed as -2 era vehicles do


def _signed(payload: bytes) -> Described:
    signed = decode_signed(payload)
    content = decode_content(signed.content)
    body = {name: value for name, value in msgspec.to_builtins(content).items() if value is not None}
    body["Signature"] = {
        "Signer": signed.signer.hex(),
        "Algorithm": signed.algorithm.value,
        "SignatureValue": signed.signature.hex(),
    }
    return Described(type(content).__name__, body)


@cache
def _may_hold_keys(declaration: type[Element]) -> bool:
    """Return whether an element can contain sealed keys: hardly one can, and searching takes time.

    No declared type contains itself.
    """
    return any(
        event.qname.local.endswith(_WITHHELD) or (isinstance(event.type, type) and _may_hold_keys(event.type))
        for particle in model_of(declaration).particles
        for event in particle.events
    )


def _without_keys(value: object, path: str, withheld: list[str]) -> object:
    """Return `value` without sealed private keys; their paths go to `withheld`."""
    if isinstance(value, list):
        return [_without_keys(each, f"{path}[{at}]", withheld) for at, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, each in value.items():
        if name.endswith(_WITHHELD):
            withheld.append(f"{path}/{name}")
        else:
            found[name] = _without_keys(each, f"{path}/{name}", withheld)
    return found


def encode_line(line: Line) -> bytes:
    """Return a line with its line end."""
    return msgspec.json.encode(line) + b"\n"


def decode_line(text: bytes) -> Line:
    """Return the line written by `encode_line`. Raises CodecError."""
    try:
        return typed_json.convert(json.loads(text), Line)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise CodecError(f"not a line of a trace: {error}", hint="log.trace of secc and evcc writes traces") from None
