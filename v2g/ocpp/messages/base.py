"""Shared by all OCPP message declarations: base classes, small types, and the differences of 2.0.1 and 2.1.

Every message is declared once, in the form of OCPP 2.1, which is a superset of 2.0.1. What 2.0.1 lacks, or limits
more, is beside the field as `Meta(extra={"2.0.1": rule})` and enforced by `v2g.ocpp.versions`. A rule is
`absent` (2.1 only), `required`, `integer`, `least`, `max_length`, `values` (the only ones), or `without` (2.1-only
values). The messages of 1.6 are others (`v2g.ocpp.v16`), with the same bases.
Fields required by 2.1 and absent in 2.0.1 are declared as optional and marked `{"2.1": {"required": True}}`.
Bounds of numbers (no negative EVSE, at most three phases), which only the schemas of 2.1 have, apply to both unless
they are a rule.
"""

from typing import Annotated, Final, Literal, TypeVar, get_args

from msgspec import Meta, Struct, field

T = TypeVar("T")

V21: Final = Meta(extra={"2.0.1": {"absent": True}})
"""The field exists in 2.1 only."""

NEW_REQUIRED_21: Final = Meta(extra={"2.0.1": {"absent": True}, "2.1": {"required": True}})
"""The field exists in 2.1 only, and is required there."""

REQUIRED_201: Final = Meta(extra={"2.0.1": {"required": True}})
"""The field is optional in 2.1 and required in 2.0.1."""


def since_21(*values: str) -> Meta:
    """Mark the values of an enumeration that 2.0.1 lacks."""
    return Meta(extra={"2.0.1": {"without": values}})


def values_201(*values: str) -> Meta:
    """Mark a string of 2.1 that in 2.0.1 is an enumeration of `values`."""
    return Meta(extra={"2.0.1": {"values": values}})


def text(max_length: int, *, v201: int) -> Meta:
    """Limit a string to `max_length` characters in 2.1 and to `v201` in 2.0.1."""
    return Meta(max_length=max_length, extra={"2.0.1": {"max_length": v201}})


String3 = Annotated[str, Meta(max_length=3)]
String6 = Annotated[str, Meta(max_length=6)]
String8 = Annotated[str, Meta(max_length=8)]
String16 = Annotated[str, Meta(max_length=16)]
String20 = Annotated[str, Meta(max_length=20)]
String25 = Annotated[str, Meta(max_length=25)]
String32 = Annotated[str, Meta(max_length=32)]
String36 = Annotated[str, Meta(max_length=36)]
String40 = Annotated[str, Meta(max_length=40)]
String48 = Annotated[str, Meta(max_length=48)]
String50 = Annotated[str, Meta(max_length=50)]
String60 = Annotated[str, Meta(max_length=60)]
String64 = Annotated[str, Meta(max_length=64)]
String80 = Annotated[str, Meta(max_length=80)]
String88 = Annotated[str, Meta(max_length=88)]
String100 = Annotated[str, Meta(max_length=100)]
String128 = Annotated[str, Meta(max_length=128)]
String160 = Annotated[str, Meta(max_length=160)]
String255 = Annotated[str, Meta(max_length=255)]
String256 = Annotated[str, Meta(max_length=256)]
String500 = Annotated[str, Meta(max_length=500)]
String512 = Annotated[str, Meta(max_length=512)]
String800 = Annotated[str, Meta(max_length=800)]
String1000 = Annotated[str, Meta(max_length=1000)]
String2000 = Annotated[str, Meta(max_length=2000)]
String2500 = Annotated[str, Meta(max_length=2500)]
String5500 = Annotated[str, Meta(max_length=5500)]
String10000 = Annotated[str, Meta(max_length=10000)]
Integer = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
"""32 bits, as OCPP defines an integer (part 2, primitive data types)."""
Identifier = Annotated[int, Meta(ge=-(2**53), le=2**53)]
"""A number that only identifies. Back ends also use ms since 1970; every reader of JSON keeps this range."""
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
NonNegativeId = Annotated[int, Meta(ge=0, le=2**53)]
UNSIGNED: Final = 2**32 - 1
NonNegative = Annotated[int, Meta(ge=0, le=UNSIGNED)]
"""32 bits without sign: ISO 15118 has ids of this range, which OCPP carries."""
NonNegative21 = Annotated[Integer, Meta(extra={"2.1": {"least": 0}})]
"""Not below 0 in 2.1; 2.0.1 leaves it to the answer."""
LARGEST: Final = 1e15
"""Largest amount of a decimal, more than any register counts. What is computed from it stays finite."""
Decimal = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
NotPositive = Annotated[float, Meta(ge=-LARGEST, le=0)]
Exponent = Annotated[int, Meta(ge=-128, le=127)]
"""A power of ten, of a unit or a price, in one octet as in ISO 15118-20."""
WholeIn201 = Annotated[Integer | Decimal, Meta(extra={"2.0.1": {"integer": True}})]
OneOrMore = Annotated[tuple[T, ...], Meta(min_length=1)]
"""A list that is omitted instead of empty: `()` stands for omitted."""

_DAY = (
    r"(?!0000)(\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
    r"|(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
)
DateTime = Annotated[
    str,
    Meta(
        pattern=rf"^{_DAY}"
        r"[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)\Z",
        max_length=35,
    ),
]
"""RFC 3339 with time zone, without leap seconds, as checkers of the schemas take it. `v2g.ocpp.times` converts to and
from ms since 1970 in UTC."""


class CustomData(Struct, frozen=True, kw_only=True, rename="camel"):
    """An extension allowed in every object. Content beyond the vendor's name is discarded."""

    vendor_id: Annotated[str, Meta(max_length=255)]


class Datatype(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Base of everything inside a message: snake_case here, camelCase on the wire, unknown properties rejected."""

    custom_data: Annotated[CustomData | None, Meta(extra={"1.6": {"absent": True}})] = None


class Message(Datatype, frozen=True, kw_only=True):
    """Base of requests and responses. Constructors do not check; `v2g.ocpp.rpc` does, in both directions."""


HashAlgorithm = Literal["SHA256", "SHA384", "SHA512"]


class CertificateHashData(Datatype, frozen=True, kw_only=True):
    """Identifies a certificate by hashes of its issuer, hex, and its serial number, hex without leading zeros."""

    hash_algorithm: HashAlgorithm
    issuer_name_hash: String128
    issuer_key_hash: String128
    serial_number: String40


GenericStatus = Literal["Accepted", "Rejected"]


class StatusInfo(Datatype, frozen=True, kw_only=True):
    """The reason of an answer; `reason_code` is from the appendix or vendor-specific."""

    reason_code: String20
    additional_info: Annotated[str, text(1024, v201=512)] | None = None


class EVSE(Datatype, frozen=True, kw_only=True):
    """An EVSE (1, 2, ...; 0 is the whole station) and optionally its connector."""

    id: NonNegative
    connector_id: NonNegative | None = None


class OCSPRequestData(Datatype, frozen=True, kw_only=True):
    """Data of an OCSP request about one certificate; hashes and serial number in hex."""

    hash_algorithm: HashAlgorithm
    issuer_name_hash: String128
    issuer_key_hash: String128
    serial_number: String40
    responder_url: Annotated[str, text(2000, v201=512)] = field(name="responderURL")


EnergyTransferMode = Annotated[
    Literal[
        "AC_single_phase",
        "AC_two_phase",
        "AC_three_phase",
        "DC",
        "AC_BPT",
        "AC_BPT_DER",
        "AC_DER",
        "DC_BPT",
        "DC_ACDP",
        "DC_ACDP_BPT",
        "WPT",
    ],
    since_21("AC_BPT", "AC_BPT_DER", "AC_DER", "DC_BPT", "DC_ACDP", "DC_ACDP_BPT", "WPT"),
]
ENERGY_TRANSFER: Final[tuple[EnergyTransferMode, ...]] = get_args(get_args(EnergyTransferMode)[0])
"""All energy transfer modes."""
MessageFormat = Annotated[Literal["ASCII", "HTML", "URI", "UTF8", "QRCODE"], since_21("QRCODE")]


class MessageContent(Datatype, frozen=True, kw_only=True):
    """A text for the driver."""

    format: MessageFormat
    language: String8 | None = None
    content: Annotated[str, text(1024, v201=512)]


OperationMode = Literal[
    "Idle",
    "ChargingOnly",
    "CentralSetpoint",
    "ExternalSetpoint",
    "ExternalLimits",
    "CentralFrequency",
    "LocalFrequency",
    "LocalLoadBalancing",
]


class Component(Datatype, frozen=True, kw_only=True):
    """A component of the station."""

    evse: EVSE | None = None
    name: String50
    instance: String50 | None = None


class Variable(Datatype, frozen=True, kw_only=True):
    """A variable of a component."""

    name: String50
    instance: String50 | None = None
