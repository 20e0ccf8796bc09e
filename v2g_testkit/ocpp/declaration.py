"""What a device under test has and supports, as its maker declares it: a TOML file (like a PICS).

Of a station most of it is in its device model: `from_report` makes a declaration from a base report.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from v2g.errors import ConfigError
from v2g_testkit.ocpp.case import Payload, Profile

D = TypeVar("D", bound=msgspec.Struct)


def read(path: Path, kind: type[D], hint: str) -> D:
    """Return the declaration in a file; its paths are relative to it. `hint` says what makes one.

    Raises ConfigError.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind, dec_hook=lambda _, text: path.parent / text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint="docs/reference/conformance-declaration.md lists the keys") from None


_AVAILABLE: Final[Mapping[str, Profile]] = {
    "LocalAuthListCtrlr": "Local Authorization List Management",
    "SmartChargingCtrlr": "Smart Charging",
    "ReservationCtrlr": "Reservation",
    "DisplayMessageCtrlr": "Advanced User Interface",
    "ISO15118Ctrlr": "ISO 15118 Support",
    "MonitoringCtrlr": "Advanced Device Management",
}


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An identifier, as a driver would present it."""

    id: Annotated[str, Meta(min_length=1, max_length=36)]
    type: str = "ISO14443"

    @property
    def payload(self) -> Payload:
        """The token as IdTokenType."""
        return {"idToken": self.id, "type": self.type}


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device under test."""

    profiles: tuple[Profile, ...] = ()
    """Certification profiles to test; empty: all that it has."""
    supports: Mapping[str, bool] = {}
    """Features, and variables of the device model which the case would look up otherwise: `Component.Variable`."""
    evses: Annotated[int, Meta(ge=0, le=64)] = 0
    """Number of EVSEs; 0: as the base report says."""
    token: Token = Token("0A1B2C3D")
    """A token that is presented to the station; back ends know it as valid."""
    other_token: Token = Token("4D3C2B1A")
    """A second one: of the same group at a back end."""
    unknown_token: Token = Token("DEADBEEF")
    """One that back ends do not know."""
    firmware: Path | None = None
    """An image that the station can install, for cases of updates; the tester signs it. Relative to this file."""
    broken_firmware: Path | None = None
    """One that it cannot."""
    contract_root: Path | None = None
    """Root of the contract of the vehicle that a driver plugs in, PEM, for Plug & Charge."""
    waived: Mapping[str, str] = {}
    """Rules of the whole run that the device need not follow, by id, each with the reason."""
    seconds: Annotated[float, Meta(gt=0, le=600)] = 30.0
    """How long the device may take to react where OCPP sets no limit, s."""
    away_seconds: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    """How long it may be away: while it boots, or until it connects again, s."""


class StationIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A station that the back end knows, with two EVSEs of one connector each."""

    identity: Annotated[str, Meta(min_length=1, max_length=48)] = "CS-V2G-0001"
    password: Annotated[str, Meta(max_length=64)] | None = None
    """For security profiles 1 and 2."""
    chain: Path | None = None
    """PEM file of its certificate, then its chain, for security profile 3."""
    key: Path | None = None
    """PEM file of its key, mode 0600."""
    serial_number: Annotated[str, Meta(max_length=25)] | None = None
    """For BootNotification, where the back end compares it."""


class CertificateFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate of a station."""

    chain: Path
    """PEM file of the certificate, then its chain."""
    key: Path
    """PEM file of its key, mode 0600."""


class Upgrade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A station whose security profile may be raised by one, for good: a run needs a new one."""

    station: StationIdentity
    """Its password, and its certificate for security profile 3."""
    url: str = ""
    """Where it connects afterwards; empty: as before."""
    ca: Path | None = None
    """PEM file of the roots of the back end's certificate there; none: as before."""


class CsmsDeclaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A back end under test, and what it has been told about: stations and tokens.

    Paths are relative to the folder of the declaration.
    """

    url: str = ""
    """Where stations connect, without the identity: `wss://csms.example:9443/ocpp`."""
    ca: Path | None = None
    """PEM file of the roots of its certificate; none: the roots of this machine."""
    profiles: tuple[Profile, ...] = ()
    """Certification profiles to test; empty: all."""
    supports: Mapping[str, bool] = {}
    """Features that it does not have (false); what is not listed it has."""
    station: StationIdentity = StationIdentity()
    invalid_certificates: tuple[CertificateFiles, ...] = ()
    """Certificates with which the station must not be let in: expired, or of another station."""
    upgrade: Upgrade | None = None
    """A station for the case in which the security profile is raised."""
    contract: CertificateFiles | None = None
    """A contract of a vehicle, which it knows as valid; its chain names responders, and ends with the root."""
    revoked_contract: Path | None = None
    """PEM file of one that is revoked, and its chain."""
    v2g_chain: Path | None = None
    """PEM file of a certificate for vehicles, and its chain, which names responders and ends with the V2G root."""
    provisioning: tuple[CertificateFiles, ...] = ()
    """Provisioning certificates of vehicles for which it has contracts: of ISO 15118-2 and ISO 15118-20."""
    token: Token = Token("0A1B2C3D")
    """A valid token, member of the group."""
    group_token: Token = Token("0A1B2C3E")
    """Another valid token of the group."""
    group: str = "family"
    """Identifier of the group."""
    master_token: Token = Token("AAAA0001")
    """A token whose group is the master pass."""
    master_group: str = "masters"
    """Identifier of that group."""
    blocked_token: Token = Token("B10CCED0")
    expired_token: Token = Token("E0B1ED00")
    unknown_token: Token = Token("DEADBEEF")
    """One that it does not know."""
    tariff_token: Token = Token("7A21FF01")
    """A valid token whose driver has a tariff of its own (OCPP 2.1)."""
    prepaid_token: Token = Token("94E9A1D1")
    """A valid token of a prepaid account with a balance (OCPP 2.1)."""
    no_credit_token: Token = Token("94E9A1D0")
    """One of an account that has none."""
    waived: Mapping[str, str] = {}
    """Rules of the whole run that the back end need not follow, by id, each with the reason."""
    seconds: Annotated[float, Meta(gt=0, le=600)] = 30.0
    """How long it may take to react where OCPP sets no limit, s."""


def read_declaration(path: Path) -> Declaration:
    """Return the declaration of a station in a file. Raises ConfigError."""
    return read(path, Declaration, "v2g conform station --declare FILE makes one")


def read_csms_declaration(path: Path) -> CsmsDeclaration:
    """Return the declaration of a back end in a file. Raises ConfigError."""
    return read(path, CsmsDeclaration, "v2g conform csms --declare FILE makes one")


def variables_of(report: Iterable[Payload]) -> dict[str, str]:
    """Return the actual values of a report as `Component.Variable`, those of the first EVSE or instance only.

    SupportsFeature has instances in part 2 of OCPP 2.1; the appendices have a variable for each, and so is it named.
    """
    found: dict[str, str] = {}
    for each in report:
        variable = each["variable"]
        name = variable["name"].replace("SupportsFeature", f"Supports{variable.get('instance', '')}")
        name = f"{each['component']['name']}.{name}"
        actual: Payload = next((one for one in each["variableAttribute"] if one.get("type", "Actual") == "Actual"), {})
        found.setdefault(name, str(actual.get("value", "")))
    return found


def evses_of(report: Iterable[Payload]) -> int:
    """Return the number of EVSEs of a report, at least 1."""
    return max(1, len({each["component"].get("evse", {}).get("id", 0) for each in report} - {0}))


def connectors_of(report: Iterable[Payload], evses: int) -> list[tuple[int, int]]:
    """Return EVSE and number of each connector of a report; EVSEs without have one."""
    places = [each["component"].get("evse", {}) for each in report]
    found = {(place["id"], place["connectorId"]) for place in places if "connectorId" in place}
    return sorted(found | {(evse, 1) for evse in range(1, evses + 1) if evse not in {each for each, _ in found}})


def from_report(report: Iterable[Payload]) -> Declaration:
    """Return what a base report declares (B07: FullInventory)."""
    entries = list(report)
    variables = variables_of(entries)
    available = [
        profile
        for component, profile in _AVAILABLE.items()
        if variables.get(f"{component}.Available", variables.get(f"{component}.Enabled", "")).lower() == "true"
    ]
    secure = variables.get("SecurityCtrlr.SecurityProfile", "1") == "3"
    return Declaration(
        profiles=("Core", *(("Advanced Security",) if secure else ()), *available), evses=evses_of(entries)
    )


def written(declaration: Declaration) -> str:
    """Return the declaration as TOML, with a hint for each key."""
    tokens = {
        "token": "presented to the station; back ends know it as valid",
        "other_token": "a second one, of the same group at a back end",
        "unknown_token": "one that back ends do not know",
    }
    lines = [
        f"profiles = {json.dumps(declaration.profiles)}  # certification profiles to test",
        f"evses = {declaration.evses}",
        f"seconds = {declaration.seconds:.1f}  # how long the device may take to react where OCPP sets no limit",
        f"away_seconds = {declaration.away_seconds:.1f}  # how long it may boot, or take to connect again",
    ]
    for name, about in tokens.items():
        token: Token = getattr(declaration, name)
        lines.append(f"{name} = {{ id = {json.dumps(token.id)}, type = {json.dumps(token.type)} }}  # {about}")
    lines.append("# firmware = 'image.bin'  # it can install; broken_firmware = 'broken.bin': it cannot")
    lines.append("# contract_root = 'mo_root.pem'  # of the contract of the vehicle, for Plug & Charge")
    lines.append(
        '\n[supports]  # features, and variables of the device model, e.g. "ReservationCtrlr.Available" = false'
    )
    lines += [f"{json.dumps(name)} = {str(value).lower()}" for name, value in declaration.supports.items()]
    return "\n".join([*lines, ""])


def written_csms(declaration: CsmsDeclaration) -> str:
    """Return the declaration as TOML, with a hint for each key."""
    tokens = {
        "token": "valid, of the group",
        "group_token": "another valid one of the group",
        "master_token": "of the group of the master pass",
        "blocked_token": "blocked",
        "expired_token": "expired",
        "unknown_token": "that the back end does not know",
        "tariff_token": "valid, with a tariff of its driver's own",
        "prepaid_token": "valid, of a prepaid account with a balance",
        "no_credit_token": "of a prepaid account without one",
    }
    lines = [
        f"url = {json.dumps(declaration.url)}  # where stations connect, without the identity",
        "# ca = 'root.pem'  # roots of its certificate; without it those of this machine",
        f"profiles = {json.dumps(declaration.profiles)}  # certification profiles to test; none: all",
        f"group = {json.dumps(declaration.group)}  # identifier of the group",
        f"master_group = {json.dumps(declaration.master_group)}  # and of that of the master pass",
        f"seconds = {declaration.seconds:.1f}  # how long it may take to react where OCPP sets no limit",
    ]
    for name, about in tokens.items():
        token: Token = getattr(declaration, name)
        lines.append(f"{name} = {{ id = {json.dumps(token.id)}, type = {json.dumps(token.type)} }}  # {about}")
    lines += [
        "\n[station]  # one that it knows",
        f"identity = {json.dumps(declaration.station.identity)}",
        "# password = ''  # or V2G_STATION_PASSWORD; security profiles 1 and 2",
        "# chain = 'station.pem'  # with key: security profile 3",
        "# key = 'station.key'",
        "\n# [[invalid_certificates]]  # with which it must not be let in: expired, of another station",
        "# chain = 'expired.pem'",
        "# key = 'expired.key'",
        "\n# v2g_chain and revoked_contract, [contract] and [[provisioning]]: certificates of ISO 15118",
        "\n# [upgrade]  # of the security profile, for good: a new station for each run",
        "# url = ''  # where it connects afterwards",
        "# station = { identity = '', password = '' }  # and chain, key for security profile 3",
        '\n[supports]  # what it does not have, e.g. "reservation" = false; `v2g conform csms --list --json` has needs',
    ]
    lines += [f"{json.dumps(name)} = {str(value).lower()}" for name, value in declaration.supports.items()]
    return "\n".join([*lines, ""])
