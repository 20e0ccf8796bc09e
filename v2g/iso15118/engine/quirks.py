"""Quirks of vehicles and chargers in the field that ISO 15118-2 and DIN 70121 sessions tolerate.

A session reports each of them once (`SeenQuirks`), so that an operator sees which peculiarity a peer has. Sources are
public threads, field notes and recordings.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta


class Peer(Enum):
    """Who has the quirk."""

    VEHICLE = "vehicle"
    CHARGER = "charger"
    BOTH = "vehicle, charger"


class Edition(Enum):
    """Where it was seen."""

    D2 = "ISO 15118-2"
    DIN = "DIN 70121"
    BOTH = "ISO 15118-2, DIN 70121"


class Quirk(msgspec.Struct, frozen=True):
    """A quirk: `name` is stable for logs, `what` the peer does, `handling` what this implementation does about it."""

    name: str
    peer: Peer
    edition: Edition
    what: str
    handling: str


PRE_CHARGE_TARGET_CHANGES: Final = Quirk(
    "pre_charge_target_changes",
    Peer.VEHICLE,
    Edition.BOTH,
    "the first EVTargetVoltage of PreCharge is wrong (BMW i3)",
    "follow every new target",
)
PRE_CHARGE_TARGET_OUT_OF_RANGE: Final = Quirk(
    "pre_charge_target_out_of_range",
    Peer.VEHICLE,
    Edition.BOTH,
    "EVTargetVoltage of PreCharge is below the battery's voltage or negative (Skoda Enyaq)",
    "limit it to 0 up to the charger's maximum, and keep answering",
)
TARGET_CURRENT_OUT_OF_RANGE: Final = Quirk(
    "target_current_out_of_range",
    Peer.VEHICLE,
    Edition.BOTH,
    "EVTargetCurrent is negative (DIN 70121), has fractions, or is above the charger's limit",
    "limit it to 0 up to the charger's maximum; no FAILED",
)
TARGET_VOLTAGE_ZERO: Final = Quirk(
    "target_voltage_zero",
    Peer.VEHICLE,
    Edition.BOTH,
    "EVTargetVoltage of CurrentDemand is 0: only the current is given",
    "keep the last target, at first that of PreCharge",
)
PROTOCOL_ORDER: Final = Quirk(
    "protocol_order",
    Peer.VEHICLE,
    Edition.BOTH,
    "DIN 70121 is ranked above ISO 15118-2, or an own protocol first (Tesla, recorded: urn:tesla:din:2018:MsgDef at "
    "priority 1, DIN 70121 at 2; uhi22/pyPLC#31)",
    "the best priority among those served counts, not the newest edition; `charger.editions` decides what is served",
)
SCHEMA_ID_ZERO: Final = Quirk(
    "schema_id_zero",
    Peer.VEHICLE,
    Edition.BOTH,
    "SchemaID 0 (BMW iX3, which leaves a charger that answers 1; uhi22/pyPLC#9)",
    "the SchemaID of the chosen entry is sent back, whatever it is",
)
SESSION_ID_LENGTH: Final = Quirk(
    "session_id_length",
    Peer.BOTH,
    Edition.BOTH,
    "SessionID of 1 or 4 bytes (Tesla V3 chargers), or empty in the first request",
    "send it back with its length; zeros that pad it to 8 bytes do not count",
)
EVCCID_LENGTH: Final = Quirk(
    "evccid_length",
    Peer.VEHICLE,
    Edition.DIN,
    "EVCCID of 8 bytes with padding, or empty",
    "accept it, do not identify anybody by it",
)
EVSEID_TEXT: Final = Quirk(
    "evseid_text",
    Peer.CHARGER,
    Edition.DIN,
    "EVSEID as ASCII text instead of packed digits",
    "read both forms, show anything else as hexadecimal",
)
SERVICE_ID: Final = Quirk(
    "service_id",
    Peer.CHARGER,
    Edition.DIN,
    "ServiceID of the charge service is not 1 (Tellus: 4660)",
    "the vehicle selects what was offered, the charger accepts what it sent",
)
WELDING_DETECTION: Final = Quirk(
    "welding_detection",
    Peer.BOTH,
    Edition.BOTH,
    "WeldingDetection is skipped, repeated often, not answered, or answered FAILED in state C (ABB, Alpitronic)",
    "the vehicle enters state B first and ends the session anyway; the charger accepts any number",
)
EARLY_SESSION_STOP: Final = Quirk(
    "early_session_stop",
    Peer.VEHICLE,
    Edition.BOTH,
    "SessionStopReq where the chart has none",
    "answer OK and unlock: a refusal keeps the plug locked for 15 to 30 s",
)
NOT_READY_BUT_FINISHED: Final = Quirk(
    "not_ready_but_finished",
    Peer.CHARGER,
    Edition.BOTH,
    "ChargeParameterDiscoveryRes with EVSE_NotReady and Finished (Compleo)",
    "continue",
)
NOT_READY_AFTER_CHECK: Final = Quirk(
    "not_ready_after_check",
    Peer.CHARGER,
    Edition.BOTH,
    "EVSE_NotReady in PreChargeRes, PowerDeliveryRes or the charge loop",
    "continue; beside a current of 1 A or more it ends the session",
)
EVSEID_NOT_REPEATED: Final = Quirk(
    "evseid_not_repeated",
    Peer.CHARGER,
    Edition.D2,
    "EVSEID is unknown in SessionSetupRes and known in the charge loop, or the other way round",
    "continue; two different ones end the session",
)
SLOW_ANSWER: Final = Quirk(
    "slow_answer",
    Peer.CHARGER,
    Edition.BOTH,
    "ChargeParameterDiscoveryRes or PowerDeliveryRes later than allowed",
    "wait longer, unless `tolerate_slow_chargers` is off",
)
SLOW_CURRENT_DEMAND: Final = Quirk(
    "slow_current_demand",
    Peer.CHARGER,
    Edition.BOTH,
    "CurrentDemandRes after more than 250 ms now and then",
    "wait up to 5 s, and allow the current of the request before until then, unless `tolerate_slow_chargers` is off",
)
SLOW_PRE_CHARGE: Final = Quirk(
    "slow_pre_charge",
    Peer.CHARGER,
    Edition.BOTH,
    "after a cable check at 500 V the output falls slowly (35 of 62 recorded sessions report over 110 % of the "
    "battery's maximum in PreChargeRes), in some for more than 7 s",
    "ask until the voltages match, up to 20 s while it moves, unless `tolerate_slow_chargers` is off; the "
    "reported voltage is judged once the contactor is closed",
)
CHARGING_PROFILE: Final = Quirk(
    "charging_profile",
    Peer.VEHICLE,
    Edition.BOTH,
    "no ChargingProfile, or one above PMax",
    "continue, limited by the offered PMax; refused in strict mode",
)
RENEGOTIATION_IGNORED: Final = Quirk(
    "renegotiation_ignored",
    Peer.VEHICLE,
    Edition.D2,
    "ReNegotiation is ignored, or the vehicle stays in state C and goes on drawing meanwhile",
    "change the limits in CurrentDemandRes, which always has the three maxima",
)
INLET_VOLTAGE: Final = Quirk(
    "inlet_voltage",
    Peer.VEHICLE,
    Edition.BOTH,
    "some vehicles trust EVSEPresentVoltage, others measure at the inlet",
    "report measured values, and make the real voltage match",
)
MISSING_FIELDS: Final = Quirk(
    "missing_fields",
    Peer.BOTH,
    Edition.BOTH,
    "optional fields of ChargeParameterDiscovery are missing, in DIN 70121 also units; some chargers reject gaps",
    "use defaults for them; the vehicle sends all of them",
)
EMAID_FORM: Final = Quirk(
    "emaid_form",
    Peer.VEHICLE,
    Edition.D2,
    "eMAID with hyphens, in lower case, with 14 or 15 characters",
    "compare the normalised form",
)
SIGNATURE_FORM: Final = Quirk(
    "signature_form",
    Peer.BOTH,
    Edition.D2,
    "signature value as DER, SignedInfo in the grammar of the messages, or Transforms missing",
    "verify these forms, too",
)
TCP_CLOSED_EARLY: Final = Quirk(
    "tcp_closed_early",
    Peer.VEHICLE,
    Edition.BOTH,
    "the vehicle is upset if the charger closes TCP directly after SessionStopRes",
    "wait 2 s for the vehicle to close first",
)
EARLY_POWER_STOP: Final = Quirk(
    "early_power_stop",
    Peer.VEHICLE,
    Edition.BOTH,
    "PowerDeliveryReq stops before it started, with EVErrorCode, or a state of charge of 0 or above 100 (Citroen eC3), "
    "also before ChargeParameterDiscovery (Hyundai Ioniq, recorded)",
    "answer OK, and end cleanly",
)

QUIRKS: Final = tuple(each for each in tuple(vars().values()) if isinstance(each, Quirk))
"""All of them, in the order of a list of field quirks; sessions name them by their constants."""


class SeenQuirks:
    """The quirks of one session that have been reported."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def is_new(self, quirk: Quirk) -> bool:
        """Return whether a quirk is met for the first time, and remember it."""
        new = quirk.name not in self._seen
        self._seen.add(quirk.name)
        return new


class VehicleQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The quirks that are tolerated of vehicles whose EVCCID begins with `evcc_id`; the longest beginning counts."""

    evcc_id: Annotated[
        str, Meta(pattern=r"^[0-9A-F]{2,40}\Z", description="beginning of the EVCCID, upper-case hexadecimal")
    ]
    tolerate: Annotated[tuple[str, ...], Meta(description="names of the quirks that are tolerated; none of the others")]
    make: Annotated[str, Meta(description="make and model, for reports")] = ""
    source: Annotated[str, Meta(description="where the quirks were reported")] = ""

    def __post_init__(self) -> None:
        """Check that the quirks exist."""
        for name in self.tolerate:
            if all(name != each.name for each in QUIRKS):
                raise ValueError(f"{name!r} is no quirk: docs/reference/field-quirks.md lists them")


VEHICLES: Final = (
    VehicleQuirks(
        "046565",
        ("early_power_stop", "charging_profile", "pre_charge_target_changes"),
        "Hyundai Ioniq",
        "recorded 2023-05-24, and an early stop in the field",
    ),
    VehicleQuirks(
        "98ED5C", ("protocol_order", "early_session_stop", "missing_fields"), "Tesla Model Y", "recorded 2024-04-20"
    ),
)
"""What is known of makes."""


def tolerates(quirk: Quirk, evcc_id: str, *, strict: bool, own: Iterable[VehicleQuirks] = ()) -> bool:
    """Return whether a charger with these entries of its `own` tolerates a quirk of a vehicle; see the module."""
    entry = _longest(evcc_id, own)
    if entry is not None:
        return quirk.name in entry.tolerate
    known = _longest(evcc_id, VEHICLES)
    return not strict or (known is not None and quirk.name in known.tolerate)


def _longest(evcc_id: str, entries: Iterable[VehicleQuirks]) -> VehicleQuirks | None:
    found = [each for each in entries if evcc_id.startswith(each.evcc_id)]
    return max(found, key=lambda each: len(each.evcc_id), default=None)
