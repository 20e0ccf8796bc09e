"""The published module `V2GDischarge.asn`, decoded by an independent compiler: asn1tools.

Importing this compiles the module, which takes tens of milliseconds: for verifiers, not for chargers.
"""

import enum
import re
from importlib.resources import files
from typing import Final

import asn1tools
import msgspec

from v2g.asn1 import discharge
from v2g.errors import Asn1Error

TEXT: Final = (files("v2g.asn1") / "V2GDischarge.asn").read_text(encoding="utf-8")
"""The published module."""

_MODULE: Final = asn1tools.compile_string(TEXT, "der")

_MEMBERS: Final = {
    "start_ms": "startAt",
    "duration_ms": "duration",
    "issued_at_ms": "issuedAt",
    "valid_until_ms": "validUntil",
    "decided_at_ms": "decidedAt",
    "ev_w": "vehicle",
    "evse_w": "evse",
    "site_w": "site",
    "operator_w": "operator",
    "max_discharge_w": "maxDischarge",
    "power_w": "power",
    "effective_w": "effectivePower",
    "signed_at_ms": "signedAt",
    "import_mwh": "import",
    "export_mwh": "export",
}
"""Fields whose Python name has a unit that the module has in a comment."""

_ALGORITHMS: Final = {"ecdsa-sha512": "ecdsa-secp521r1-sha512", "ecdsa-sha256": "ecdsa-secp256r1-sha256"}

_CONTENTS: Final = {
    discharge.DischargeOffer: "offer",
    discharge.DischargeDecision: "decision",
    discharge.DischargeCommand: "command",
    discharge.DischargeResult: "result",
    discharge.DischargeCheckpoint: "checkpoint",
    discharge.CheckpointReceipt: "receipt",
}


def member_name(field: str) -> str:
    """Return the module's name of a field."""
    return _MEMBERS.get(field) or re.sub(r"_(\w)", lambda match: match[1].upper(), field)


def enumeral(member: enum.Enum) -> str:
    """Return the module's name of a member of an enumeration."""
    return _ALGORITHMS.get(member.value) or member.value.replace("_", "-")


def as_module_value(value: object) -> object:
    """Return a declared value in the compiler's form: dicts, lists, strings; a content with its alternative."""
    if isinstance(value, msgspec.Struct):
        fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
        members = {member_name(name): _plain(field) for name, field in fields if field is not None}
        return (_CONTENTS[type(value)], members) if type(value) in _CONTENTS else members
    return _plain(value)


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return as_module_value(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return enumeral(value) if isinstance(value, enum.Enum) else value


def check_signed(payload: bytes) -> None:
    """Raise Asn1Error unless the compiler decodes a SignedMessage as this project does, and encodes the same bytes."""
    signed = discharge.decode_signed(payload)
    for kind, octets, ours in (
        ("SignedMessage", payload, signed),
        ("DischargeContent", signed.content, discharge.decode_content(signed.content)),
    ):
        try:
            theirs = _MODULE.decode(kind, octets, check_constraints=True)
            again = _MODULE.encode(kind, theirs, check_constraints=True)
        except (asn1tools.DecodeError, asn1tools.EncodeError, asn1tools.ConstraintsError) as error:
            raise Asn1Error(f"asn1tools rejects the {kind}: {error}") from None
        if theirs != as_module_value(ours):
            raise Asn1Error(f"asn1tools decodes the {kind} differently")
        if again != octets:
            raise Asn1Error(f"asn1tools encodes the same {kind} differently")
