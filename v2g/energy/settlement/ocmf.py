"""Writes and verifies Open Charge Metering Format 1.2: one signed data set for each direction of a session.

`OCMF|<payload>|<signature>`, both parts JSON; ECDSA over SHA-256 of the payload's exact bytes, DER in hex. OBIS codes
refer to the grid connection: `1-0:1.8.0` is energy taken from the grid (import), `1-0:2.8.0` energy fed back (export).
A data set contains readings of one register, in kWh with six decimals, which is the mWh of the register without
rounding: begin and end of a session, or all that were signed in it. The key is the meter's own, since the format's
signature methods end at 384 bits.
"""

import base64
import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from typing import Annotated, Final, Literal, get_args

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Meta

from v2g.energy.meter_records import ocmf as meter_records
from v2g.energy.meter_records import record as records
from v2g.energy.meter_records.keys import key_of
from v2g.energy.settlement.pricing import Direction
from v2g.errors import CodecError, SignatureError
from v2g.pki.keys import Algorithm, SigningKey, sign_der

OBIS: Final[dict[Direction, str]] = {"import": "1-0:1.8.0", "export": "1-0:2.8.0"}

MAX_READINGS: Final = 500
"""Maximum number of readings in a data set of `sign_readings`."""

MAX_BYTES: Final = 1_875
"""Maximum length of a data set in OCPP's signedMeterData: 2500 characters of base64."""

Transaction = Literal["B", "C", "X", "E", "L", "R", "A", "P", "S", "T"]
"""Reason of a reading (table 7): begin, charging, exception (from here on not usable), the ends, suspended, tariff
change.
"""

MeterState = Literal["N", "G", "T", "D", "R", "M", "X", "I", "O", "S", "E", "F"]
"""Status of the meter (table 10): not present, good, timeout, disconnected, not found, manipulated, exchanged,
incompatible, out of range, substitute, other error, read error.
"""

Clock = Literal["S", "R", "I", "U"]
"""Status of a time (table 19): synchronised, relative, informative, unknown."""

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
    """A register (mWh) at a time."""

    utc_ms: int
    register_mwh: int
    clock: Clock = "S"
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

    tm: str
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
    pg: str
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
    ci: str
    rd: tuple[_Rd, ...]


class _Signature(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    sa: str = meter_records.DEFAULT_METHOD
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
    return (b"OCMF|" + text + b"|" + _encoder.encode(_Signature(sd=sign_der(key, text).hex()))).decode()


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

    Raises CodecError if it is not one transaction of one register, each value a whole number of mWh, SignatureError if
    `key` did not sign it.
    """
    record = _open(text, key)
    payload = meter_records.payload_of(record)
    readings = [_reading(each) for each in record.readings]
    reasons = [each.transaction for each in record.readings]
    if len(readings) != 2 or reasons[0] != "B" or reasons[1] not in get_args(EndReason):
        raise CodecError("OCMF: not one begin and one end reading")
    first, last = readings
    if first is None or last is None or record.readings[0].code != record.readings[1].code:
        raise CodecError("OCMF: not two readings of one register of active energy")
    (direction, begin), (_, end) = first, last
    if not begin.settled or not end.settled:
        raise CodecError("OCMF: not a good reading, nor one that is marked as substitute or of another meter")
    return DataSet(
        direction=direction,
        meter_serial=str(payload.get("MS", "")),
        emaid=record.user if payload.get("IS") is True else None,
        evse_id=str(payload.get("CI", "")),
        tariff_text=str(payload.get("TT", "")),
        pagination=record.label,
        begin=begin,
        end=end,
        end_reason=reasons[1],
    )


class SignedReading(msgspec.Struct, frozen=True):
    """One reading of a data set: `transaction` is the kind of table 7 (`B`, `E`, `C`, ...).

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
    record = _open(text, key)
    tariff = str(meter_records.payload_of(record).get("TT", ""))
    found = ((each.transaction, _reading(each)) for each in record.readings)
    return tuple(SignedReading(one[0], transaction, one[1], tariff) for transaction, one in found if one is not None)


def _open(text: str, key: ec.EllipticCurvePublicKey) -> records.Record:
    """Return a data set of three sections that this key signed, by the method that it names."""
    if len(text) > 64 * MAX_BYTES:
        raise CodecError(f"an OCMF data set of {len(text)} characters")
    if text.count("|") != 2:
        raise CodecError("not OCMF|payload|signature")
    record = meter_records.read_ocmf(text.encode(errors="surrogatepass"))
    known = key_of(key)
    if (record.curve or "secp256r1") != known.curve:
        raise SignatureError(f"{record.curve or 'secp256r1'} is not the method of a {known.curve} key")
    if not any(known.verifies(record.signed, each, known.curve, record.hash_name) for each in record.signatures):
        raise SignatureError("the OCMF signature does not match")
    return record


def _reading(each: records.Reading) -> tuple[Direction, Reading] | None:
    """Return a reading of active energy and its direction, None for one of something else."""
    if each.wh is None or each.direction is None:
        return None
    mwh = each.wh.scaleb(3)
    known = each.state in get_args(MeterState) and each.errors in get_args(Errors) and each.clock in get_args(Clock)
    if each.utc_ms is None or not known or mwh != mwh.to_integral_value() or not 0 <= mwh < 10**18:
        raise CodecError("OCMF: not a whole number of mWh, a time and a known status")
    status = each.clock, each.state, each.errors
    return each.direction, Reading(each.utc_ms, int(mwh), *status)  # type: ignore[arg-type] # checked above


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


def signed_meter_data(text: str) -> str:
    """Return a data set for OCPP's `signedMeterData` (base64); `encodingMethod` is `OCMF`, `signingMethod` empty."""
    return base64.b64encode(text.encode()).decode()
