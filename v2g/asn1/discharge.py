"""The messages of signed discharge, as published in `V2GDischarge.asn`.

Power is never negative here: W of discharging. Times are ms since 1970 in UTC, money is micro-units per
kWh. Declarations only; they are encoded by `encode_content`/`decode_content` and `encode_signed`/`decode_signed`.
"""

import enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.asn1 import der

SessionId = Annotated[bytes, Meta(min_length=8, max_length=8)]
OfferId = Annotated[bytes, Meta(min_length=16, max_length=16)]
Nonce = Annotated[bytes, Meta(min_length=16, max_length=16)]
TermsHash = Annotated[bytes, Meta(min_length=64, max_length=64)]
Timestamp = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Watts = Annotated[int, Meta(ge=0, le=10_000_000)]
MicroPerKwh = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**32 - 1)]

MilliWh = Annotated[int, Meta(ge=0, le=2**53 - 1)]

MAX_PRICES: Final = 1024
"""Maximum number of price slots in an offer."""


class PriceSlot(msgspec.Struct, frozen=True):
    """Prices of a time slot: `import_price` is paid by the vehicle, `export_compensation` received by it."""

    start_ms: Timestamp
    duration_ms: Positive
    import_price: MicroPerKwh
    export_compensation: MicroPerKwh

    @property
    def end_ms(self) -> int:
        """End of the slot, ms (exclusive)."""
        return self.start_ms + self.duration_ms


class DischargeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Source of `max_discharge_w`: the smallest of the four limits."""

    ev_w: Watts
    evse_w: Watts
    site_w: Watts
    operator_w: Watts
    max_discharge_w: Watts
    operator_version: Count
    source: Annotated[str, Meta(max_length=64)]


class DischargeOffer(msgspec.Struct, frozen=True, kw_only=True):
    """Terms from the charger, binding until `valid_until_ms` or the next offer."""

    offer_id: OfferId
    session_id: SessionId
    evse_id: Annotated[str, Meta(min_length=1, max_length=255)]
    issued_at_ms: Timestamp
    valid_until_ms: Timestamp
    currency: Annotated[str, Meta(min_length=3, max_length=3)]
    prices: Annotated[tuple[PriceSlot, ...], Meta(min_length=1, max_length=MAX_PRICES)]
    limits: DischargeLimits
    challenge: Nonce


class DecisionReason(enum.Enum):
    """Reason of a vehicle's decision; numbered in this order on the wire."""

    ACCEPTED = "accepted"
    COMPENSATION_TOO_LOW = "compensation_too_low"
    STATE_OF_CHARGE_TOO_LOW = "state_of_charge_too_low"
    DEPARTURE_TOO_SOON = "departure_too_soon"
    BATTERY_CONDITION = "battery_condition"
    OWNER_REFUSED = "owner_refused"
    TERMS_INVALID = "terms_invalid"
    OTHER = "other"


class DischargeDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The vehicle's decision. `minimum_soc` (%) and `max_discharge_w` limit its discharging under this offer."""

    offer_id: OfferId
    session_id: SessionId
    terms_hash: TermsHash
    accepted: bool
    reason: DecisionReason
    decided_at_ms: Timestamp
    minimum_soc: Percent
    max_discharge_w: Watts
    checkpoint: Count | None = None


class DischargeCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Discharging power (W) from `issued_at_ms` to `valid_until_ms`; `sequence` always increases within a session.

    `checkpoint`: number of the last checkpoint that the vehicle countersigned, None in version 1.
    """

    session_id: SessionId
    offer_id: OfferId
    terms_hash: TermsHash
    challenge: Nonce
    sequence: Positive
    nonce: Nonce
    power_w: Watts
    issued_at_ms: Timestamp
    valid_until_ms: Timestamp
    checkpoint: Count | None = None


class ResultStatus(enum.Enum):
    """Result of a command; numbered in this order on the wire. Only the first two permit power."""

    ACCEPTED = "accepted"
    CLAMPED = "clamped"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_SIGNER = "unknown_signer"
    MALFORMED = "malformed"
    WRONG_SESSION = "wrong_session"
    UNKNOWN_OFFER = "unknown_offer"
    TERMS_MISMATCH = "terms_mismatch"
    NOT_ACCEPTED = "not_accepted"
    WRONG_CHALLENGE = "wrong_challenge"
    REPLAYED = "replayed"
    OUT_OF_ORDER = "out_of_order"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    VALIDITY_TOO_LONG = "validity_too_long"
    OFFER_EXPIRED = "offer_expired"
    STOPPED = "stopped"
    UNKNOWN_CHECKPOINT = "unknown_checkpoint"


class DischargeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The charger's answer to one command; `sequence` is 0 if the command could not be decoded."""

    session_id: SessionId
    sequence: Count
    status: ResultStatus
    effective_w: Watts
    decided_at_ms: Timestamp


class MeterRegisters(msgspec.Struct, frozen=True, kw_only=True):
    """Both registers of the meter."""

    import_mwh: MilliWh
    export_mwh: MilliWh


class DischargeCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The charger's journal and registers after its first `entries` entries; `head` is the hash of the last of them.

    `begin` are the registers when the session began; `final` whether power has stopped.
    """

    session_id: SessionId
    number: Positive
    issued_at_ms: Timestamp
    entries: Positive
    head: Annotated[bytes, Meta(min_length=32, max_length=32)]
    begin: MeterRegisters
    now: MeterRegisters
    final: bool


class ReceiptStatus(enum.Enum):
    """The vehicle's answer to a checkpoint; numbered in this order on the wire."""

    COUNTERSIGNED = "countersigned"
    OUT_OF_ORDER = "out_of_order"
    REGISTER_DECREASED = "register_decreased"
    ENERGY_DIFFERS = "energy_differs"


class CheckpointReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The vehicle's answer to a checkpoint, whose signed message has the SHA-512 `checkpoint_hash`.

    `ended`, in version 3 of the answer to a final one: whether the vehicle ends the session.
    """

    session_id: SessionId
    number: Positive
    checkpoint_hash: TermsHash
    signed_at_ms: Timestamp
    status: ReceiptStatus
    ended: bool | None = None


class SignatureAlgorithm(enum.Enum):
    """Numbered in this order on the wire; values are those of `v2g.pki.keys.Algorithm`."""

    ECDSA_SECP521R1_SHA512 = "ecdsa-sha512"
    ED448 = "ed448"
    ECDSA_SECP256R1_SHA256 = "ecdsa-sha256"


class SignedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of a V2GTP frame: `signature` covers `content` exactly as transmitted."""

    content: Annotated[bytes, Meta(min_length=1, max_length=65535)]
    signer: Annotated[bytes, Meta(min_length=32, max_length=32)]
    algorithm: SignatureAlgorithm
    signature: Annotated[bytes, Meta(min_length=64, max_length=132)]


DischargeContent = (
    DischargeOffer | DischargeDecision | DischargeCommand | DischargeResult | DischargeCheckpoint | CheckpointReceipt
)

_CONTENT: Final[tuple[type[msgspec.Struct], ...]] = (
    DischargeOffer,
    DischargeDecision,
    DischargeCommand,
    DischargeResult,
    DischargeCheckpoint,
    CheckpointReceipt,
)


def encode_content(content: DischargeContent) -> bytes:
    """Return DER of DischargeContent. Raises Asn1Error with the field that violates its declaration."""
    return der.encode_choice(content, _CONTENT)


def decode_content(data: bytes) -> DischargeContent:
    """Return the message in `data`. Raises Asn1Error."""
    content = der.decode_choice(data, _CONTENT)
    assert isinstance(content, DischargeContent)
    return content


def encode_signed(message: SignedMessage) -> bytes:
    """Return DER of a SignedMessage: the payload of a V2GTP frame. Raises Asn1Error."""
    return der.encode(message)


def decode_signed(data: bytes) -> SignedMessage:
    """Return the SignedMessage in a V2GTP payload, not yet verified. Raises Asn1Error."""
    return der.decode(data, SignedMessage)


def signed_content(data: bytes) -> DischargeContent:
    """Return the signed content of a V2GTP payload, not yet verified. Raises Asn1Error."""
    return decode_content(decode_signed(data).content)
