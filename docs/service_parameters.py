"""The reference of service parameters; a test compares it with the parameter sets that the charger sends."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from docs.markdown import table as markdown

AC: Final = ("AC", "AC_BPT", "AC_DER_IEC", "AC_DER_SAE")
DC: Final = ("DC", "DC_BPT")
MCS: Final = ("MCS", "MCS_BPT")
ACDP: Final = ("DC_ACDP", "DC_ACDP_BPT")
WPT: Final = ("WPT",)
ENERGY: Final = (*AC, *DC, *MCS, *WPT, *ACDP)
BPT: Final = ("AC_BPT", "DC_BPT", "MCS_BPT", "DC_ACDP_BPT")


class Parameter(NamedTuple):
    """One parameter of some services.

    `values` maps what may be sent to its meaning (empty: any number). `keys` are keys of the charger's configuration
    that decide what is sent (none: always the same), `takes` says what our vehicle makes of it.
    """

    name: str
    services: tuple[str, ...]
    values: Mapping[int | str, str]
    keys: tuple[str, ...]
    takes: str
    source: str


_ISLANDING: Final = {1: "active", 2: "passive"}
_ANY: Final = "anything"

PARAMETERS: Final = (
    Parameter(
        "Connector",
        AC,
        {1: "single-phase", 2: "three-phase", 3: "three-phase, as other implementations say it"},
        ("charger.ac_rating.phases", "charger.ac_rating.three_phase_connector"),
        _ANY,
        "Table 205; sources disagree about three phases",
    ),
    Parameter(
        "Connector", DC, {1: "Core", 2: "Extended", 3: "Dual2", 4: "Dual4"}, ("charger.connector",), _ANY, "Table 207"
    ),
    Parameter(
        "Connector",
        MCS,
        {1: "MCS", 2: "ChaoJi", 3: "UltraChaoJi", 4: "rMCS", 5: "xMCS", 6: "Aviation", 7: "Marine"},
        ("charger.mcs_connector",),
        _ANY,
        "Amendment 1, as implementations use it",
    ),
    Parameter(
        "ControlMode",
        ENERGY,
        {1: "Scheduled", 2: "Dynamic"},
        ("charger.control_modes",),
        "the first set of the mode that it prefers (`services.control_mode`)",
        "Tables 205 to 207",
    ),
    Parameter(
        "MobilityNeedsMode",
        ENERGY,
        {1: "departure and charge are named by the vehicle", 2: "and by the charger, in Dynamic mode only"},
        ("charger.mobility_needs",),
        "the first set that it prefers (`services.mobility_needs`); a set without it counts as 1",
        "Tables 205 to 207, V2G20-2663",
    ),
    Parameter(
        "Pricing",
        (*AC, *DC, *MCS),
        {0: "none", 1: "absolute prices", 2: "price levels"},
        ("charger.offer_prices", "charger.prices.forms"),
        "prices rather than levels rather than nothing",
        "Tables 205 to 207",
    ),
    Parameter("EVSENominalVoltage", AC, {}, ("charger.ac_rating.nominal_voltage_v",), _ANY, "Table 205; volts"),
    Parameter(
        "DERControlFunctions",
        ("AC_DER_IEC",),
        {},
        ("charger.grid_support",),
        "the first set whose functions it has (`services.der_functions`)",
        "Amendment 1, by EVerest only; one bit a function, in the order of `services.der_functions`",
    ),
    Parameter(
        "BPTChannel",
        BPT,
        {1: "one meter and path for both directions", 2: "separate ones"},
        (),
        "1; a set without it counts as 1",
        "Table 206; our charger sends 1",
    ),
    Parameter(
        "GeneratorMode",
        ("AC_BPT", "DC_BPT", "MCS_BPT"),
        {1: "grid following", 2: "grid forming"},
        (),
        "1; a set without it counts as 1",
        "Table 206; our charger sends 1",
    ),
    Parameter(
        "GridCodeIslandingDetectionMethod",
        ("AC_BPT",),
        _ISLANDING,
        ("charger.ac_rating.islanding_detection", "charger.ac_rating.islanding_parameter"),
        _ANY,
        "Table 206; sources disagree about its name",
    ),
    Parameter(
        "DetectionMethodGridCodeIslanding",
        ("AC_BPT",),
        _ISLANDING,
        ("charger.ac_rating.islanding_detection", "charger.ac_rating.islanding_parameter"),
        _ANY,
        "the same, by its other name",
    ),
    Parameter(
        "Protocol",
        ("INTERNET",),
        {"ftp": "", "http": "", "https": ""},
        ("charger.internet",),
        "the first set (`services.internet`)",
        "service 65; text",
    ),
    Parameter(
        "Port",
        ("INTERNET",),
        {20: "ftp", 21: "ftp", 80: "http", 443: "https"},
        ("charger.internet",),
        "the first set (`services.internet`)",
        "service 65; sets 1 to 4 in this order",
    ),
    Parameter(
        "IntendedService",
        ("PARKING_STATUS",),
        {1: "check-in", 2: "check-out"},
        ("charger.parking.check_in", "charger.parking.check_out"),
        "the set for check-in (`services.parking`)",
        "service 66",
    ),
    Parameter(
        "ParkingStatusType",
        ("PARKING_STATUS",),
        {
            1: "automatic, from inside",
            2: "automatic, from outside",
            3: "manual, from inside",
            4: "manual, from outside",
        },
        ("charger.parking.automatic", "charger.parking.inside"),
        _ANY,
        "service 66",
    ),
    Parameter(
        "Version",
        ("SIGNED_DISCHARGE",),
        {1: "the messages of V2GDischarge.asn", 2: "with checkpoints", 3: "with the end signed"},
        ("charger.signed_discharge.checkpoints",),
        "3, else 2, else 1 (`services.signed_discharge`, `services.checkpoints`)",
        "ours; id by charger.signed_discharge.service_id",
    ),
    Parameter(
        "PayloadType",
        ("SIGNED_DISCHARGE",),
        {0xA000: "V2GTP payload type 0xA000"},
        (),
        "0xA000",
        "ours, of the manufacturer range",
    ),
)
"""Every parameter that our charger sends."""


def table() -> str:
    """Return the table of all parameters."""
    rows = []
    for each in PARAMETERS:
        values = ", ".join(f"{value} {meaning}".strip() for value, meaning in each.values.items()) or "a number"
        keys = ", ".join(f"`{key}`" for key in each.keys) or "none"
        rows.append((f"`{each.name}`", ", ".join(each.services), values, keys, each.takes, each.source))
    head = ("Parameter", "Services", "Values", "Key of the charger", "What our vehicle takes", "Source")
    return markdown(head, rows)
