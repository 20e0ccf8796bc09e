"""Configuration keys of 1.6 and the variables of 2.x that mean the same.

A key without such a variable is one of the component OCPP16Ctrlr, with its own name; values are texts in both.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from v2g import typed_json
from v2g.ocpp.messages.base import EVSE, Component, Variable
from v2g.ocpp.messages.provisioning import ReportData, VariableAttribute, VariableCharacteristics
from v2g.ocpp.v16.messages import ConfigurationKey, ConfigurationStatus
from v2g.tables import table

OTHER: Final = "OCPP16Ctrlr"


_VARIABLES: Final = table("v2g.ocpp.v16", "configuration.toml", dict[str, str])
"""Key -> component, variable and, with some, the variable's instance."""

_KEYS: Final = {place.casefold(): key for key, place in _VARIABLES.items()}
WRITE_ONLY: Final = "authorizationkey"
_UNITS: Final = {"c": "A", "a": "A", "p": "W", "w": "W"}
MOST_CONNECTORS: Final = 100
FEATURES: Final = "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger"
"""SupportedFeatureProfiles of a station of 2.x."""
READ_ONLY: Final = frozenset(
    {
        "AdditionalRootCertificateCheck", "CertificateSignedMaxChainSize", "CertificateStoreMaxLength",
        "ChargeProfileMaxStackLevel", "ChargingScheduleAllowedChargingRateUnit", "ChargingScheduleMaxPeriods",
        "ConnectorPhaseRotation", "ConnectorSwitch3to1PhaseSupported", "CustomDisplayCostAndPrice",
        "GetConfigurationMaxKeys", "LocalAuthListMaxLength", "MaxChargingProfilesInstalled", "NumberOfConnectors",
        "ReserveConnectorZeroSupported", "SendLocalListMaxLength", "SupportedFeatureProfiles",
        "SupportedFileTransferProtocols",
    }
)  # fmt: skip
"""The keys that a back end cannot set."""
MOST: Final[Mapping[str, str]] = {
    "CertificateStoreMaxLength": "SecurityCtrlr.CertificateEntries",
    "LocalAuthListMaxLength": "LocalAuthListCtrlr.Entries",
    "MaxChargingProfilesInstalled": "SmartChargingCtrlr.Entries[ChargingProfiles]",
}
"""Key -> the variable of 2.x whose greatest value it is."""


def key_of(component: Component, variable: Variable) -> str | None:
    """Return the key of a variable, None where 1.6 has none."""
    if component.name.casefold() == OTHER.casefold():
        return variable.name
    place = ".".join(filter(None, (component.name, variable.name, variable.instance)))
    return _KEYS.get(place.casefold()) if component.evse is None and component.instance is None else None


def variable_of(key: str) -> tuple[Component, Variable]:
    """Return the variable of a key, in whatever case a station writes it."""
    found = next((each for each in _VARIABLES if each.casefold() == key.casefold()), None)
    if found is None:
        return Component(name=OTHER), Variable(name=key)
    component, name, *instance = _VARIABLES[found].split(".")
    return Component(name=component), Variable(name=name, instance=instance[0] if instance else None)


def value_in_2x(key: str, value: str) -> str:
    """Return a value as 2.x writes it: units of rates are A and W there, in the station's order, a price is a text."""
    match key.casefold():
        case "defaultprice":
            try:
                return typed_json.decode(value, _Price).price_text
            except (msgspec.DecodeError, RecursionError):
                return value
        case "chargingscheduleallowedchargingrateunit":  # some write Power, Watt or W, or blanks between them
            units = (_UNITS.get(each.strip()[:1].casefold()) for each in value.split(","))
            return ",".join(dict.fromkeys(filter(None, units))) or value
    return value


def value_in_16(key: str, value: str) -> str:
    """Return a value as 1.6 writes it."""
    if key.casefold() == "chargingscheduleallowedchargingrateunit":
        return ",".join(_RATES.get(each, each) for each in value.split(","))
    if key.casefold() != "defaultprice" or value.lstrip().startswith("{"):
        return value if len(value) <= _LONGEST else value[:_LONGEST].rpartition(",")[0]
    return msgspec.json.encode(_Price(value)).decode()


_RATES: Final = {"A": "Current", "W": "Power"}
_LONGEST: Final = 500


def change_status(status: str) -> ConfigurationStatus:
    """Return the status of a changed variable as that of its key."""
    match status:
        case "Accepted" | "Rejected" | "RebootRequired":
            return status
    return "NotSupported"


class _Price(msgspec.Struct, frozen=True, rename="camel"):
    price_text: str


def named(key: str) -> str | None:
    """Return a key of a station of 2.x as the standard writes it, None for one that it does not have."""
    return _NAMES.get(key.casefold())


_NAMES: Final = {each.casefold(): each for each in (*_VARIABLES, *READ_ONLY)}
KEYS: Final = tuple(sorted(_NAMES.values()))
"""All keys of a station of 2.x."""


def report(keys: tuple[ConfigurationKey, ...]) -> Iterator[ReportData]:
    """Yield what a station has configured as variables, and an EVSE for each of its connectors."""
    for each in keys:
        component, variable = variable_of(each.key)
        secret = each.key.casefold() == WRITE_ONLY
        yield ReportData(
            component=component,
            variable=variable,
            variable_attribute=(
                VariableAttribute(
                    type="Actual",
                    value=None if secret or each.value is None else value_in_2x(each.key, each.value),
                    mutability="WriteOnly" if secret else "ReadOnly" if each.readonly else "ReadWrite",
                ),
            ),
            variable_characteristics=VariableCharacteristics(data_type="string", supports_monitoring=False),
        )
        if each.key.casefold() == "numberofconnectors" and (each.value or "").strip().isdecimal():
            for number in range(1, min(int(each.value or 0), MOST_CONNECTORS) + 1):
                yield ReportData(
                    component=Component(name="EVSE", evse=EVSE(id=number)),
                    variable=Variable(name="Available"),
                    variable_attribute=(VariableAttribute(type="Actual", value="true", mutability="ReadOnly"),),
                    variable_characteristics=VariableCharacteristics(data_type="boolean", supports_monitoring=False),
                )
