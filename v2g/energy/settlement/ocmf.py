"""Open Charge Metering Format 1.2: one signed data set for each direction of a session.

`OCMF|<payload>|<signature>`, both parts JSON; ECDSA over SHA-256 of the payload's exact bytes, DER in hex. OBIS codes
refer to the grid connection: `1-0:1.8.0` is energy taken from the grid (import), `1-0:2.8.0` energy fed back (export).
A data set contains readings of one register, in kWh with six decimals, which is the mWh of the register without
rounding: begin and end of a session, or all that were signed in it. The key is the meter's own, since the format's
signature methods end at 384 bits.
"""

import base64
import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from typing import Annotated, Final, Literal, get_args

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from msgspec import Meta

from v2g import typed_json
from v2g.energy.settlement.pricing import Direction
from v2g.errors import CodecError, SignatureError
from v2g.pki.keys import Algorithm, SigningKey

OBIS: Final[dict[Direction, str]] = {"import": "1-0:1.8.0", "export": "1-0:2.8.0"}

MAX_READINGS: Final = 500
"""Maximum number of readings in a data set of `sign_readings`."""

MAX_BYTES: Final = 1_875
"""Maximum length of a data set in OCPP's signedMeterData: 2500 characters of base64."""

METHODS: Final = {
    "secp192r1": "ECDSA-secp192r1-SHA256",
    "secp256k1": "ECDSA-secp256k1-SHA256",
    "secp256r1": "ECDSA-secp256r1-SHA256",
    "secp384r1": "ECDSA-secp384r1-SHA256",
    "brainpoolP256r1": "ECDSA-brainpool256r1-SHA256",
    "brainpoolP384r1": "ECDSA-brainpool384r1-SHA256",
}
"""Curve name -> signature method (table 22) supported by `verify`; data sets are made with secp256r1."""

Transaction = Literal["B", "C", "X", "E", "L", "R", "A", "P", "S", "T"]
"""Reason of a reading (table 7): begin, charging, exception (from here on not usable), the ends, suspended, tariff
change.
"""

MeterState = Literal["N", "G", "T", "D", "R", "M", "X", "I", "O", "S", "E", "F"]
"""Status of the meter (table 10): not present, good, timeout, disconnected, not found, manipulated, exchanged,
incompatible, out of range, substitute, other error, read error.
"""

Errors = Literal["", "E", "t", "Et", "tE"]
"""What cannot be used for billing (`EF`): energy, time."""

EndReason = Literal["E", "L", "R", "A", "P"]
"""End of transaction, ended locally, ended remotely, aborted by an error, power failure (table 7)."""

OcmfText = Annotated[str, Meta(max_length=250, pattern=r"^[^|]*\Z")]
"""A text in OCMF, where `|` separates sections."""


class MeterIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The meter and its gateway; empty texts are left out."""

    meter_serial: OcmfText
    meter_vendor: OcmfText = ""
    meter_model: OcmfText = ""
    meter_firmware: OcmfText = ""
    gateway: OcmfText = ""
    gateway_serial: OcmfText = ""
    gateway_version: OcmfText = ""
    current_type: Literal["AC", "DC"] = "DC"


class Assignment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The energy's assignment: the EMAID of a Plug-and-Charge contract (None: unassigned), the EVSE, and a text that
    identifies the tariff (TT).
    """

    emaid: OcmfText | None
    evse_id: OcmfText
    tariff_text: OcmfText = ""
    flags: tuple[OcmfText, ...] = ("ISO15118_PNC", "OCPP_AUTH_TLS")


class Reading(msgspec.Struct, frozen=True):
    """A register (mWh) at a time; `clock` is the time status of table 19 (S synchronised, R relative, I, U)."""

    utc_ms: int
    register_mwh: int
    clock: Literal["S", "R", "I", "U"] = "S"
    state: MeterState = "G"
    errors: Errors = ""

    @property
    def good(self) -> bool:
        """Whether energy and time may be billed."""
        return self.state == "G" and not self.errors

    @property
    def settled(self) -> bool:
        """Whether it may begin or end a settlement: good, or its register is a substitute, or follows a reset."""
        return self.state in ("S", "X") or (self.state == "G" and self.errors in ("", "t"))


class _Rd(msgspec.Struct, frozen=True, kw_only=True, rename="upper", omit_defaults=True):
    """A reading; what is equal to the reading before it may be left out."""

    tm: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}[+-]\d{4} [USIR]\Z")]
    tx: str | None = None
    rv: Decimal
    ri: str | None = None
    ru: str | None = None
    rt: str | None = None
    ef: str | None = None
    st: str | None = None


class _Payload(msgspec.Struct, frozen=True, kw_only=True, rename="upper", omit_defaults=True):
    fv: str
    gi: str = ""
    gs: str = ""
    gv: str = ""
    pg: Annotated[str, Meta(pattern=r"^[TF](0|[1-9]\d*)\Z")]
    mv: str = ""
    mm: str = ""
    ms: str
    mf: str = ""
    is_: bool = msgspec.field(name="IS")
    il: str | None = None
    if_: tuple[str, ...] = msgspec.field(name="IF", default=())
    it: str
    id: str = ""
    tt: str = ""
    ct: str | None = None
    ci: str = ""
    rd: Annotated[tuple[_Rd, ...], Meta(min_length=1, max_length=1000)]


class _Signature(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    sa: str = METHODS["secp256r1"]
    se: Literal["hex", "base64"] = "hex"
    sm: Literal["application/x-der"] = "application/x-der"
    sd: str


class DataSet(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a data set, to compare with a journal."""

    direction: Direction
    meter_serial: str
    emaid: str | None
    evse_id: str
    tariff_text: str
    pagination: str
    begin: Reading
    end: Reading
    end_reason: str


_INHERITED: Final = ("tx", "ri", "ru", "rt", "ef", "st")

_encoder = msgspec.json.Encoder(decimal_format="number")


def sign_session(
    direction: Direction,
    *,
    begin: Reading,
    end: Reading,
    identity: MeterIdentity,
    assignment: Assignment,
    pagination: int,
    key: SigningKey,
    end_reason: EndReason = "E",
) -> str:
    """Return the data set of one direction. `pagination` (1..) counts every data set that this meter signs.

    `key` is a secp256r1 key. Raises CodecError if the data set does not fit OCPP or a name contains `|`; SignatureError
    for another key.
    """
    rds = (_rd(direction, begin, "B", identity), _rd(direction, end, end_reason, identity))
    data = _sign(_payload(rds, identity, assignment, pagination), key)
    if len(data) > MAX_BYTES:
        raise CodecError(f"an OCMF data set of {len(data)} bytes; OCPP carries {MAX_BYTES}", hint="shorten the names")
    return data


def sign_readings(
    direction: Direction,
    readings: Sequence[tuple[Transaction, Reading]],
    *,
    identity: MeterIdentity,
    assignment: Assignment,
    pagination: int,
    key: SigningKey,
) -> str:
    """Return a data set of 1 to MAX_READINGS readings in order of time; it need not fit OCPP. See `sign_session`."""
    full = [_rd(direction, reading, transaction, identity) for transaction, reading in readings]
    rds = [full[0]]
    for before, rd in itertools.pairwise(full):
        kept = {name: None for name in _INHERITED if getattr(before, name) == getattr(rd, name)}
        rds.append(msgspec.structs.replace(rd, **kept))
    return _sign(_payload(tuple(rds), identity, assignment, pagination), key)


def _sign(payload: _Payload, key: SigningKey) -> str:
    if key.algorithm is not Algorithm.ECDSA_SHA256:
        raise SignatureError("a meter's key must be secp256r1", hint="OCMF has no method for curves of 521 bits")
    text = _encoder.encode(payload)
    if b"|" in text:
        raise CodecError("a name in the OCMF data set contains '|'")
    raw = key.sign(text)
    half = len(raw) // 2
    der = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
    return (b"OCMF|" + text + b"|" + _encoder.encode(_Signature(sd=der.hex()))).decode()


def _payload(rds: tuple[_Rd, ...], identity: MeterIdentity, assignment: Assignment, pagination: int) -> _Payload:
    assigned = assignment.emaid is not None
    return _Payload(
        fv="1.2",
        gi=identity.gateway,
        gs=identity.gateway_serial,
        gv=identity.gateway_version,
        pg=f"T{pagination}",
        mv=identity.meter_vendor,
        mm=identity.meter_model,
        ms=identity.meter_serial,
        mf=identity.meter_firmware,
        is_=assigned,
        il="SECURE" if assigned else "NONE",
        if_=assignment.flags if assigned else (),
        it="EMAID" if assigned else "NONE",
        id=assignment.emaid or "",
        tt=assignment.tariff_text,
        ct="EVSEID",
        ci=assignment.evse_id,
        rd=rds,
    )


def _rd(direction: Direction, reading: Reading, reason: str, identity: MeterIdentity) -> _Rd:
    return _Rd(
        tm=f"{_timestamp(reading.utc_ms)} {reading.clock}",
        tx=reason,
        rv=Decimal(reading.register_mwh).scaleb(-6),
        ri=OBIS[direction],
        ru="kWh",
        rt=identity.current_type,
        ef=reading.errors,
        st=reading.state,
    )


def _timestamp(utc_ms: int) -> str:
    seconds, ms = divmod(utc_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S},{ms:03d}+0000"


def verify(text: str, key: ec.EllipticCurvePublicKey) -> DataSet:
    """Return the content of a data set after verifying its signature.

    Raises CodecError if it is not one transaction of one register in kWh, SignatureError if `key` did not sign it.
    """
    return _read(_open(text, key))


class SignedReading(msgspec.Struct, frozen=True):
    """One reading of a data set of any meter: `transaction` is the kind of table 7 (`B`, `E`, `C`, ...).

    `tariff_text` is that of the data set.
    """

    direction: Direction
    transaction: str
    reading: Reading
    tariff_text: str = ""


def signed_readings(text: str, key: ec.EllipticCurvePublicKey) -> tuple[SignedReading, ...]:
    """Return the readings of energy registers in a data set after verifying its signature; others are left out.

    Unlike `verify` this accepts any number of readings. Raises CodecError if it is not readable as OCMF; SignatureError
    if `key` did not sign it.
    """
    directions = {obis: direction for direction, obis in OBIS.items()}
    found = []
    payload = _open(text, key)
    for rd in payload.rd:
        obis = (rd.ri or "").partition("*")[0]
        if obis in directions:
            found.append(SignedReading(directions[obis], rd.tx or "", _reading(rd), payload.tt))
    return tuple(found)


def _open(text: str, key: ec.EllipticCurvePublicKey) -> _Payload:
    if len(text) > 64 * MAX_BYTES:
        raise CodecError(f"an OCMF data set of {len(text)} characters")
    sections = text.split("|")
    if len(sections) != 3 or sections[0] != "OCMF":
        raise CodecError("not OCMF|payload|signature")
    try:
        payload = typed_json.decode(sections[1].encode(), _Payload)
        signature = typed_json.decode(sections[2].encode(), _Signature)
        raw = bytes.fromhex(signature.sd) if signature.se == "hex" else base64.b64decode(signature.sd, validate=True)
    except (msgspec.DecodeError, UnicodeError, ValueError) as error:
        raise CodecError(f"OCMF: {error}") from None
    if signature.sa != METHODS.get(key.curve.name):
        raise SignatureError(f"{signature.sa} is not the method of a {key.curve.name} key")
    try:
        key.verify(raw, sections[1].encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise SignatureError("the OCMF signature does not match") from None
    return msgspec.structs.replace(payload, rd=tuple(_completed(payload.rd)))


def _completed(rds: Iterable[_Rd]) -> Iterator[_Rd]:
    """Yield the readings with what they have in common with the one before."""
    known: dict[str, str | None] = {}
    for rd in rds:
        known |= {name: value for name in _INHERITED if (value := getattr(rd, name)) is not None}
        yield msgspec.structs.replace(rd, **known)


def _read(payload: _Payload) -> DataSet:
    if len(payload.rd) != 2 or payload.rd[0].tx != "B" or payload.rd[1].tx not in get_args(EndReason):
        raise CodecError("OCMF: not one begin and one end reading")
    directions = [direction for direction, obis in OBIS.items() if obis == payload.rd[0].ri]
    if not directions or payload.rd[1].ri != payload.rd[0].ri:
        raise CodecError("OCMF: not two readings of one register of active energy")
    begin, end = (_reading(rd) for rd in payload.rd)
    if not begin.settled or not end.settled:
        raise CodecError("OCMF: not a good reading, nor one that is marked as substitute or of another meter")
    return DataSet(
        direction=directions[0],
        meter_serial=payload.ms,
        emaid=payload.id if payload.is_ else None,
        evse_id=payload.ci,
        tariff_text=payload.tt,
        pagination=payload.pg,
        begin=begin,
        end=end,
        end_reason=payload.rd[1].tx or "",
    )


def _reading(rd: _Rd) -> Reading:
    try:
        moment = datetime.strptime(rd.tm[:-2], "%Y-%m-%dT%H:%M:%S,%f%z")
    except ValueError as error:
        raise CodecError(f"OCMF: {error}") from None
    in_reach = rd.rv.as_tuple().exponent in range(-6, 12) and 0 <= rd.rv < 10**12  # NaN's exponent is not a number
    known = rd.st in get_args(MeterState) and (rd.ef or "") in get_args(Errors)
    if rd.ru != "kWh" or not known or not in_reach:
        raise CodecError("OCMF: not a reading in kWh with at most six decimals and a known status")
    utc_ms = int(moment.replace(microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000
    register_mwh = int(rd.rv.scaleb(6))
    return Reading(utc_ms, register_mwh, rd.tm[-1], rd.st, rd.ef or "")  # type: ignore[arg-type] # checked above


def transparency_file(data_sets: Iterable[str], public_key: bytes) -> str:
    """Return data sets in the XML that the transparency software of S.A.F.E. e.V. reads; `public_key` is DER.

    Each data set stands alone, without transaction or context: it has begin and end itself.
    """
    values = "".join(
        f'  <value>\n    <signedData format="OCMF" encoding="plain">{escape(text, quote=False)}</signedData>\n'
        f'    <publicKey encoding="hex">{public_key.hex()}</publicKey>\n  </value>\n'
        for text in data_sets
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<values>\n{values}</values>\n'


def read_public_key(printed: str) -> ec.EllipticCurvePublicKey:
    """Return the key in OCPP's `publicKey`. Raises CodecError if it is not one."""
    try:
        text = base64.b64decode(printed, validate=True).decode()
        der = bytes.fromhex(text.removeprefix("oca:base16:asn1:"))
        key = serialization.load_der_public_key(der)
    except (ValueError, UnicodeError, UnsupportedAlgorithm) as error:
        raise CodecError(f"not a meter's public key: {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CodecError("not a meter's public key: not an elliptic curve")
    return key


def signed_meter_data(text: str) -> str:
    """Return a data set for OCPP's `signedMeterData` (base64); `encodingMethod` is `OCMF`, `signingMethod` empty."""
    return base64.b64encode(text.encode()).decode()
