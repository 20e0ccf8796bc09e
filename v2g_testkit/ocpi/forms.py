"""The forms of OCPI's objects in 2.2.1 and 2.3.0, strictly as they are written on the wire. Pure.

Readers of partners are tolerant; this one is not, as it judges. A field is `name:kind`, with `?` (optional), `*` (a
list) or `+` (a list of at least one) after its name, and `@` a version that alone has it. Kinds are the names of
objects and enumerations, a number (the most characters of a CiString), or one of `_SIMPLE`.
"""

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final

from v2g.errors import OcpiError
from v2g.ocpi.wire import Version, read_time

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z?\Z")
_CODES: Final = {"alpha2": r"[A-Za-z]{2}", "alpha3": r"[A-Z]{3}", "party": r"[A-Za-z0-9]{3}", "currency": r"[A-Z]{3}",
                 "latitude": r"-?\d{1,2}\.\d{5,7}", "longitude": r"-?\d{1,3}\.\d{5,7}", "date": r"\d{4}-\d\d-\d\d",
                 "clock": r"([01]\d|2[0-3]):[0-5]\d", "url": r"https?://[!-~]{1,247}"}  # fmt: skip


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or not _TIME.match(value):
        return False
    try:
        read_time(value)
    except OcpiError:
        return False
    return True


_SIMPLE: Final[dict[str, Callable[[object], bool]]] = {
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | Decimal) and not isinstance(value, bool),
    "bool": lambda value: isinstance(value, bool),
    "text": lambda value: isinstance(value, str) and len(value) <= 5000,
    "time": _is_time,
    "object": lambda value: isinstance(value, dict),
}

_ENUMS: Final = {
    "EvseStatus": "AVAILABLE BLOCKED CHARGING INOPERATIVE OUTOFORDER PLANNED REMOVED RESERVED UNKNOWN",
    "Format": "SOCKET CABLE",
    "PowerType": "AC_1_PHASE AC_2_PHASE AC_2_PHASE_SPLIT AC_3_PHASE DC",
    "SessionStatus": "ACTIVE COMPLETED INVALID PENDING RESERVATION",
    "AuthMethod": "AUTH_REQUEST COMMAND WHITELIST",
    "Allowed": "ALLOWED BLOCKED EXPIRED NO_CREDIT NOT_ALLOWED",
    "Whitelist": "ALWAYS ALLOWED ALLOWED_OFFLINE NEVER",
    "Dimension": "CURRENT ENERGY ENERGY_EXPORT ENERGY_IMPORT MAX_CURRENT MIN_CURRENT MAX_POWER MIN_POWER PARKING_TIME "
                 "POWER RESERVATION_TIME STATE_OF_CHARGE TIME",
    "Day": "MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY",
    "Reserved": "RESERVATION RESERVATION_EXPIRES",
    "Component": "ENERGY FLAT PARKING_TIME TIME",
    "Interface": "SENDER RECEIVER",
    "CommandSync": "NOT_SUPPORTED REJECTED ACCEPTED UNKNOWN_SESSION",
    "CommandAsync": "ACCEPTED CANCELED_RESERVATION EVSE_OCCUPIED EVSE_INOPERATIVE FAILED NOT_SUPPORTED REJECTED "
                    "TIMEOUT UNKNOWN_RESERVATION",
    "ProfileSync": "ACCEPTED NOT_SUPPORTED REJECTED TOO_OFTEN UNKNOWN_SESSION",
    "ProfileAsync": "ACCEPTED REJECTED UNKNOWN",
    "Preference": "ACCEPTED DEPARTURE_REQUIRED ENERGY_NEED_REQUIRED NOT_POSSIBLE PROFILE_TYPE_NOT_SUPPORTED",
    "ClientStatus": "CONNECTED OFFLINE PLANNED SUSPENDED",
}  # fmt: skip

_OPEN: Final = {
    "Standard": "CHADEMO CHAOJI DOMESTIC_A DOMESTIC_B DOMESTIC_C DOMESTIC_D DOMESTIC_E DOMESTIC_F DOMESTIC_G "
                "DOMESTIC_H DOMESTIC_I DOMESTIC_J DOMESTIC_K DOMESTIC_L DOMESTIC_M DOMESTIC_N DOMESTIC_O GBT_AC GBT_DC "
                "IEC_60309_2_single_16 IEC_60309_2_three_16 IEC_60309_2_three_32 IEC_60309_2_three_64 IEC_62196_T1 "
                "IEC_62196_T1_COMBO IEC_62196_T2 IEC_62196_T2_COMBO IEC_62196_T3A IEC_62196_T3C NEMA_5_20 NEMA_6_30 "
                "NEMA_6_50 NEMA_10_30 NEMA_10_50 NEMA_14_30 NEMA_14_50 PANTOGRAPH_BOTTOM_UP PANTOGRAPH_TOP_DOWN "
                "TESLA_R TESLA_S",
    "Capability": "CHARGING_PROFILE_CAPABLE CHARGING_PREFERENCES_CAPABLE CHIP_CARD_SUPPORT CONTACTLESS_CARD_SUPPORT "
                  "CREDIT_CARD_PAYABLE DEBIT_CARD_PAYABLE PED_TERMINAL REMOTE_START_STOP_CAPABLE RESERVABLE "
                  "RFID_READER START_SESSION_CONNECTOR_REQUIRED TOKEN_GROUP_CAPABLE UNLOCK_CAPABLE",
    "TokenType": "AD_HOC_USER APP_USER OTHER RFID",
    "Role": "CPO EMSP HUB NAP NSP OTHER SCSP",
}  # fmt: skip
"""Enumerations that 2.3.0 has opened: there any name is one."""

_VALUES: Final = {name: frozenset(text.split()) for name, text in (_ENUMS | _OPEN).items()}

_OWNED: Final = "country_code:alpha2 party_id:party"
_PLACE: Final = "address:45 city:45 postal_code?:10 state?:20 country:alpha3 coordinates:Coordinates"
_OBJECTS: Final = {
    "Version": "version:16 url:url",
    "VersionDetails": "version:16 endpoints+:Endpoint",
    "Endpoint": "identifier:64 role:Interface url:url",
    "Credentials": "token:64 url:url roles+:CredentialsRole",
    "CredentialsRole": f"role:Role business_details:BusinessDetails {_OWNED}",
    "BusinessDetails": "name:100 website?:url",
    "Coordinates": "latitude:latitude longitude:longitude",
    "Location": f"{_OWNED} id:36 publish:bool name?:255 {_PLACE} evses*:Evse operator?:BusinessDetails time_zone:255 "
                "opening_times?:OpeningTimes help_phone?@2.3.0:25 last_updated:time",
    "OpeningTimes": "twentyfourseven:bool regular_hours*:RegularHours",
    "RegularHours": "weekday:int period_begin:clock period_end:clock",
    "Evse": "uid:36 evse_id?:48 status:EvseStatus capabilities*:Capability connectors+:Connector floor_level?:4 "
            "physical_reference?:16 last_updated:time",
    "Connector": "id:36 standard:Standard format:Format power_type:PowerType max_voltage:int max_amperage:int "
                 "max_electric_power?:int tariff_ids*:36 capabilities*@2.3.0:text last_updated:time",
    "Tariff": f"{_OWNED} id:36 currency:currency type?:32 elements+:Element min_price?:Limit max_price?:Limit "
              "start_date_time?:time end_date_time?:time tax_included@2.3.0:16 last_updated:time",
    "Element": "price_components+:PriceComponent restrictions?:Restrictions",
    "PriceComponent": "type:Component price:number vat?:number step_size:int",
    "Restrictions": "start_time?:clock end_time?:clock start_date?:date end_date?:date min_kwh?:number max_kwh?:number "
                    "min_current?:number max_current?:number min_power?:number max_power?:number min_duration?:int "
                    "max_duration?:int day_of_week*:Day reservation?:Reserved",
    "Limit": "excl_vat@2.2.1:number incl_vat?@2.2.1:number before_taxes@2.3.0:number after_taxes?@2.3.0:number",
    "Price": "excl_vat@2.2.1:number incl_vat?@2.2.1:number before_taxes@2.3.0:number taxes*@2.3.0:Tax",
    "Tax": "name:255 percentage?:number amount:number",
    "Token": f"{_OWNED} uid:36 type:TokenType contract_id:36 visual_number?:64 issuer:64 group_id?:36 valid:bool "
             "whitelist:Whitelist language?:2 last_updated:time",
    "CdrToken": f"{_OWNED} uid:36 type:TokenType contract_id:36",
    "AuthorizationInfo": "allowed:Allowed token:Token location?:LocationReferences authorization_reference?:36",
    "LocationReferences": "location_id:36 evse_uids*:36",
    "Session": f"{_OWNED} id:36 start_date_time:time end_date_time?:time kwh:number cdr_token:CdrToken "
               "auth_method:AuthMethod authorization_reference?:36 location_id:36 evse_uid:36 connector_id:36 "
               "meter_id?:255 currency:currency charging_periods*:Period total_cost?:Price status:SessionStatus "
               "last_updated:time",
    "Period": "start_date_time:time dimensions+:CdrDimension tariff_id?:36",
    "CdrDimension": "type:Dimension volume:number",
    "Cdr": f"{_OWNED} id:39 start_date_time:time end_date_time:time session_id?:36 cdr_token:CdrToken "
           "auth_method:AuthMethod authorization_reference?:36 cdr_location:CdrLocation meter_id?:255 "
           "currency:currency tariffs*:Tariff charging_periods+:Period signed_data?:SignedData total_cost:Price "
           "total_fixed_cost?:Price total_energy:number total_energy_cost?:Price total_time:number "
           "total_time_cost?:Price total_parking_time?:number total_parking_cost?:Price total_reservation_cost?:Price "
           "remark?:255 credit?:bool credit_reference_id?:39 last_updated:time",
    "CdrLocation": f"id:36 name?:255 {_PLACE} evse_uid:36 evse_id:48 connector_id:36 connector_standard:Standard "
                   "connector_format:Format connector_power_type:PowerType",
    "SignedData": "encoding_method:36 public_key?:512 signed_values+:SignedValue url?:512",
    "SignedValue": "nature:32 plain_data:text signed_data:text",
    "CommandResponse": "result:CommandSync timeout:int",
    "CommandResult": "result:CommandAsync",
    "ProfileResponse": "result:ProfileSync timeout:int",
    "ProfileResult": "result:ProfileAsync",
    "ClientInfo": f"{_OWNED} role:Role status:ClientStatus last_updated:time",
    "Envelope": "status_code:int status_message?:text timestamp:time",
}  # fmt: skip

_FIELD: Final = re.compile(r"([a-z_]+)([?*+]?)(?:@([0-9.]+))?:(\w+)")

FORMS: Final = {
    name: [found.groups() for each in text.split() if (found := _FIELD.fullmatch(each))]
    for name, text in _OBJECTS.items()
}
"""By name of an object, its fields: name, how often, the version that alone has it, kind."""


def faults(kind: str, value: object, version: Version, *, partly: bool = False) -> list[str]:
    """Return what is wrong with an object of the wire; `partly`: as in a PATCH, where only `last_updated` is due."""
    return list(_faults(kind, value, version, kind, partly=partly))


def _faults(kind: str, value: object, version: Version, where: str, *, partly: bool = False) -> Iterator[str]:
    if kind not in FORMS:
        if not _fits(kind, value, version):
            yield f"{where} is {value!r:.60}"
        return
    if not isinstance(value, dict):
        yield f"{where} is not an object"
        return
    for name, often, only, inner in FORMS[kind]:
        if only and only != version:
            continue
        there, place = value.get(name), f"{where}.{name}"
        if there is None or (often in ("*", "+") and there == []):
            if often in ("", "+") and (name == "last_updated" or not partly):
                yield f"{place} is missing"
        elif often not in ("*", "+"):
            yield from _faults(inner, there, version, place)
        elif not isinstance(there, list):
            yield f"{place} is not a list"
        else:
            for each in there:
                yield from _faults(inner, each, version, f"{place}[]")


def _fits(kind: str, value: object, version: Version) -> bool:
    if kind in _SIMPLE:
        return _SIMPLE[kind](value)
    if not isinstance(value, str):
        return False
    if kind in _VALUES:
        return value in _VALUES[kind] or (kind in _OPEN and version == "2.3.0" and bool(value))
    if kind in _CODES:
        return re.fullmatch(_CODES[kind], value) is not None
    return 1 <= len(value) <= int(kind)
