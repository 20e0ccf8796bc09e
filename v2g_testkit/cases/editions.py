"""How devices are tested in each edition: its cases, and the peer that runs their scripts (pure)."""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Final

import msgspec

from v2g.iso15118.d20.charts import Family
from v2g_testkit.cases import secc_cases as secc_cases_20
from v2g_testkit.cases.case import Case
from v2g_testkit.cases.charger import ReferenceCharger
from v2g_testkit.cases.evcc_cases import FAMILIES
from v2g_testkit.cases.evcc_cases import evcc_cases as evcc_cases_20
from v2g_testkit.cases.known import Known
from v2g_testkit.cases.scripted_charger import ScriptedCharger
from v2g_testkit.cases.scripted_vehicle import ScriptedVehicle
from v2g_testkit.cases.v2g_message import evcc_cases, secc_cases
from v2g_testkit.cases.v2g_message.charger import Charger2, ChargerDin
from v2g_testkit.cases.v2g_message.requests import MessageKnown
from v2g_testkit.cases.v2g_message.vehicle import Vehicle2, VehicleDin
from v2g_testkit.cases.vehicle import ReferenceVehicle


class Edition(Enum):
    """Editions of the protocol in which a device can be tested."""

    ISO20 = "20"
    ISO2 = "2"
    DIN = "din"


class VehicleTest(msgspec.Struct, frozen=True, kw_only=True):
    """The test of a vehicle in one edition."""

    title: str
    families: tuple[Family, ...]
    cases: Callable[[Family], tuple[Case, ...]]
    """Every case with a set of messages, in the order of execution."""
    charger: Callable[..., ScriptedCharger]
    """Creates the charger of a script and a set of messages: see `ReferenceCharger`."""


class ChargerTest(msgspec.Struct, frozen=True, kw_only=True):
    """The test of a charger in one edition."""

    title: str
    families: tuple[Family, ...]
    cases: Callable[[Family], tuple[Case, ...]]
    """Every case with a set of messages, in the order of execution."""
    known: Callable[[Family], Known | MessageKnown]
    """Creates the vehicle's memory of a case."""
    vehicle: type[ScriptedVehicle]


CHARGERS: Final[Mapping[Edition, ChargerTest]] = {
    Edition.ISO20: ChargerTest(
        title="ISO 15118-20",
        families=tuple(Family),
        cases=secc_cases_20.secc_cases,
        known=Known,
        vehicle=ReferenceVehicle,
    ),
    Edition.ISO2: ChargerTest(
        title="ISO 15118-2",
        families=(Family.AC, Family.DC),
        cases=partial(secc_cases.secc_cases, secc_cases.EDITION_2),
        known=MessageKnown,
        vehicle=Vehicle2,
    ),
    Edition.DIN: ChargerTest(
        title="DIN 70121",
        families=(Family.DC,),
        cases=partial(secc_cases.secc_cases, secc_cases.EDITION_DIN),
        known=MessageKnown,
        vehicle=VehicleDin,
    ),
}

VEHICLES: Final[Mapping[Edition, VehicleTest]] = {
    Edition.ISO20: VehicleTest(title="ISO 15118-20", families=FAMILIES, cases=evcc_cases_20, charger=ReferenceCharger),
    Edition.ISO2: VehicleTest(
        title="ISO 15118-2",
        families=(Family.AC, Family.DC),
        cases=partial(evcc_cases.evcc_cases, evcc_cases.EDITION_2),
        charger=Charger2,
    ),
    Edition.DIN: VehicleTest(
        title="DIN 70121",
        families=(Family.DC,),
        cases=partial(evcc_cases.evcc_cases, evcc_cases.EDITION_DIN),
        charger=ChargerDin,
    ),
}
