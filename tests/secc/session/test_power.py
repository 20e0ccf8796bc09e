"""How much power may flow (`secc.session.d20.power`): each bound by itself, to the watt, for every kind of output."""

from typing import Any

import msgspec
import pytest

from secc.session.config import (
    AcRating,
    ControlMode,
    EnergyService,
    EvseRating,
    SeccConfig,
    SignedDischarge,
    WptRating,
)
from secc.session.d20.power import choose_output, discharge_ceiling
from secc.session.d20.request_context import RequestContext
from secc.session.d20.scheduling.offers import OfferedTuple, Span
from secc.session.d20.stages import Authorized, Charging, Opened, Parametrised, Plan, Planned, Selected, Vehicle
from secc.session.facts import SessionFacts
from secc.session.ports import Device, Measured, SetAcOutput, SetOutput, SetWptOutput
from v2g.energy.limits import EffectiveLimits, GridResponse

CONFIG = SeccConfig(
    rating=EvseRating(
        max_charge_power_w=40_000,
        max_charge_current_a=100,
        max_discharge_power_w=20_000,
        max_discharge_current_a=50,
        max_voltage_v=500,
    ),
    ac_rating=AcRating(max_charge_power_w=20_000, max_discharge_power_w=10_000),
    wpt=WptRating(max_power_w=10_000),
)
VEHICLE = Vehicle(
    max_charge_w=18_000,
    max_charge_ma=90_000,
    max_voltage_mv=450_000,
    min_voltage_mv=0,
    max_discharge_w=9_000,
    max_discharge_ma=45_000,
)
NOW = 1_800_000_000_000
CHOSEN = OfferedTuple(1, (Span(NOW, NOW + 9_000, 17_000),), (Span(NOW, NOW + 9_000, 8_500),))
SERVICES = {"dc": EnergyService.DC_BPT, "ac": EnergyService.AC_BPT, "wpt": EnergyService.WPT}


class Case:
    """A charger and a vehicle in the loop; everything that bounds power can be changed by its name."""

    def __init__(self, kind: str = "dc", *, scheduled: bool = False, **changes: Any) -> None:
        self.values: dict[str, Any] = {
            "kind": kind,
            "scheduled": scheduled,
            "service": SERVICES[kind],
            "signed": True,
            "signed_w": 8_000,
            "config": CONFIG,
            "vehicle": VEHICLE,
            "station": (30_000, 15_000),
            "setpoint_w": None,
            "response": GridResponse(),
            "measured": Measured(400_000, 0),
            "utc_ms": NOW,
            "stopping": False,
            "ready": True,
            "trouble": "",
            "chosen": CHOSEN if scheduled else None,
            **changes,
        }

    @property
    def selected(self) -> Selected:
        """What was selected."""
        mode = ControlMode.SCHEDULED if self.values["scheduled"] else ControlMode.DYNAMIC
        authorized = Authorized(Opened(b"12345678", "EV"), None)
        return Selected(authorized, self.values["service"], mode, self.values["signed"])

    @property
    def context(self) -> RequestContext:
        """What is around it; what has nothing to do with power is not there."""
        charge_w, discharge_w = self.values["station"]
        nothing = dict.fromkeys(RequestContext.__struct_fields__)
        known = {name: value for name, value in self.values.items() if name in nothing}
        device = msgspec.structs.replace(Device(), trouble=self.values["trouble"])
        return RequestContext(
            **{
                **nothing,
                **known,
                "family": self.values["service"].family,
                "station": EffectiveLimits(
                    charge_w=charge_w, discharge_w=discharge_w, charge_source="", discharge_source=""
                ),
                "facts": SessionFacts(
                    measured=self.values["measured"], response=self.values["response"], device=device
                ),
            }
        )

    @property
    def stage(self) -> Charging:
        """How far the session has come."""
        fields = {name: self.values[name] for name in Charging.__struct_fields__ if name in self.values}
        planned = Planned(Parametrised(self.selected, self.values["vehicle"]), Plan())
        return Charging(
            **{"alive": True, "asked_ma": 30_000, "asked_mv": 400_000, "asked_w": 5_000, **fields, "planned": planned}
        )

    def choose(self) -> Any:
        """Return what flows."""
        return choose_output(self.stage, self.context)

    @property
    def powers(self) -> tuple[int, int]:
        """W of charge and of discharge."""
        output = self.choose()
        return output.charge_w, getattr(output, "discharge_w", 0)


def vehicle(**changes: Any) -> Vehicle:
    return msgspec.structs.replace(VEHICLE, **changes)


# -- nothing ----------------------------------------------------------------------------------------------------------

IDLE: dict[str, dict[str, Any]] = {
    "standby": {"standby": True},
    "silent": {"alive": False},
    "stopping": {"stopping": True},
}
HELD: dict[str, dict[str, Any]] = {**IDLE, "held": {"held": True}, "not ready": {"ready": False}}


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("why", HELD)
def test_nothing_flows_to_a_vehicle_that_shall_have_none(why: str, scheduled: bool) -> None:
    dc = Case("dc", scheduled=scheduled, **HELD[why]).choose()
    assert dc == SetOutput(voltage_mv=450_000, current_ma=90_000, charge_w=0, discharge_w=0)
    assert Case("ac", scheduled=scheduled, **HELD[why]).choose() == SetAcOutput(charge_w=0, discharge_w=0, power_w=0)
    if why in IDLE:
        assert Case("wpt", scheduled=scheduled, **HELD[why]).choose() == SetWptOutput(charge_w=0, power_w=0)


@pytest.mark.parametrize("scheduled", [False, True])
def test_nothing_is_sent_while_something_is_in_the_way(scheduled: bool) -> None:
    blocked = Case("wpt", scheduled=scheduled, trouble="foreign_object")
    assert blocked.choose() == SetWptOutput(charge_w=0, power_w=0)


# -- limits -----------------------------------------------------------------------------------------------------------

CHARGE = {"signed": False}


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("kind", ["dc", "ac", "wpt"])
@pytest.mark.parametrize(
    ("changes", "charge_w"),
    [
        ({"vehicle": vehicle(max_charge_w=3_000)}, 3_000),
        ({"station": (4_000, 15_000)}, 4_000),
        ({"vehicle": vehicle(max_charge_w=0)}, 0),
        ({"station": (-5, 0)}, 0),
        ({"vehicle": vehicle(max_charge_w=-5)}, 0),
        ({"setpoint_w": 2_500}, 2_500),
        ({"setpoint_w": 30_000, "station": (4_000, 0)}, 4_000),
        ({"setpoint_w": 0}, 0),
        ({"response": GridResponse(ceiling_w=1_500)}, 1_500),
        ({"response": GridResponse(ceiling_w=-5)}, 0),
        ({"response": GridResponse(ceiling_w=25_000), "station": (4_000, 0)}, 4_000),
    ],
)
def test_charge_is_within_every_bound(kind: str, scheduled: bool, changes: dict[str, Any], charge_w: int) -> None:
    assert Case(kind, scheduled=scheduled, **CHARGE, **changes).powers[0] == charge_w


@pytest.mark.parametrize("kind", ["dc", "ac", "wpt"])
def test_a_schedule_binds_a_vehicle_that_has_agreed_on_it(kind: str) -> None:
    assert Case(kind, scheduled=True).powers[0] == 17_000
    assert Case(kind, **CHARGE).powers[0] == 18_000


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("kind", ["dc", "ac"])
@pytest.mark.parametrize(
    ("changes", "discharge_w"),
    [
        ({}, 8_000),
        ({"signed_w": 9_999, "vehicle": vehicle(max_discharge_w=3_000)}, 3_000),
        ({"station": (30_000, 2_000)}, 2_000),
        ({"station": (30_000, -5)}, 0),
        ({"signed_w": 0}, 0),
        ({"signed": False}, 0),
        ({"service": None}, 0),
        ({"setpoint_w": -2_500}, 2_500),
        ({"setpoint_w": -30_000}, 8_000),
        ({"setpoint_w": 4_000}, 0),
        ({"setpoint_w": 0}, 0),
        ({"response": GridResponse(floor_w=-1_500)}, 1_500),
        ({"response": GridResponse(floor_w=0)}, 0),
        ({"response": GridResponse(floor_w=-9_500)}, 8_000),
    ],
)
def test_discharge_is_within_every_bound(kind: str, scheduled: bool, changes: dict[str, Any], discharge_w: int) -> None:
    if "service" in changes:
        changes = {"service": EnergyService.DC if kind == "dc" else EnergyService.AC}
    assert Case(kind, scheduled=scheduled, asked_ma=-30_000, **changes).powers[1] == discharge_w


def test_what_was_signed_for_is_no_more_than_the_schedule() -> None:
    assert Case("dc", scheduled=True, signed_w=9_000).powers == (17_000, 8_500)


def test_without_signatures_a_wish_decides_where_none_is_required() -> None:
    config = msgspec.structs.replace(CONFIG, signed_discharge=SignedDischarge(required=False))
    free = {"signed": False, "config": config}
    assert Case(**free).powers == (18_000, 0)
    assert Case(**free, setpoint_w=-4_000).powers == (0, 4_000)
    assert Case(**free, setpoint_w=-40_000).powers == (0, 9_000)
    assert Case("dc", signed=False, setpoint_w=-4_000).powers == (0, 0)
    assert Case(**free, vehicle=vehicle(max_charge_w=-7)).powers == (0, 0)
    assert Case(**free, vehicle=vehicle(max_charge_w=0), response=GridResponse(delta_w=-10)).powers == (0, 10)


def test_a_wish_for_discharge_leaves_no_charge_by_a_schedule_either() -> None:
    assert Case(scheduled=True, setpoint_w=-2_500).powers == (0, 2_500)


@pytest.mark.parametrize(
    ("changes", "most_w"),
    [
        ({}, 8_000),
        ({"signed_w": -1}, 0),
        ({"vehicle": vehicle(max_discharge_w=-1)}, 0),
        ({"service": EnergyService.DC}, 0),
        ({"signed": False}, 0),
    ],
)
def test_the_ceiling_of_discharge(changes: dict[str, Any], most_w: int) -> None:
    case = Case(**changes)
    assert discharge_ceiling(case.selected, case.values["vehicle"], case.context) == most_w


@pytest.mark.parametrize(
    ("changes", "powers"),
    [
        ({"setpoint_w": 25_000}, (18_000, 0)),
        ({"setpoint_w": 0, "signed_w": 0}, (0, 0)),
        ({"setpoint_w": -1_000}, (0, 1_000)),
        ({"setpoint_w": -30_000, "response": GridResponse(floor_w=-30_000)}, (0, 8_000)),
        ({"vehicle": vehicle(max_charge_w=-7), "signed_w": 0}, (0, 0)),
        ({"setpoint_w": 20_000, "response": GridResponse(delta_w=-10_000), **CHARGE}, (8_000, 0)),
        ({"setpoint_w": 20_000, "station": (12_000, 0), "response": GridResponse(delta_w=-10_000)}, (2_000, 0)),
        ({"setpoint_w": -20_000, "response": GridResponse(delta_w=+5_000)}, (0, 3_000)),
        ({"vehicle": vehicle(max_charge_w=-7), **CHARGE, "response": GridResponse(delta_w=+5)}, (0, 0)),
        ({"station": (12_000, 0), **CHARGE, "response": GridResponse(delta_w=-10_000)}, (2_000, 0)),
        ({"vehicle": vehicle(max_charge_w=12_000), **CHARGE, "response": GridResponse(delta_w=-10_000)}, (2_000, 0)),
        ({"setpoint_w": 0, **CHARGE, "response": GridResponse(delta_w=+1)}, (1, 0)),
        ({"setpoint_w": 0, "response": GridResponse(delta_w=-10)}, (0, 10)),
    ],
)
def test_a_wish_is_cut_down_before_the_grid_bends_it(changes: dict[str, Any], powers: tuple[int, int]) -> None:
    assert Case(**changes).powers == powers


# -- what the hardware is told ----------------------------------------------------------------------------------------


def test_what_direct_current_is_told() -> None:
    assert Case(**CHARGE).choose() == SetOutput(voltage_mv=450_000, current_ma=90_000, charge_w=18_000, discharge_w=0)
    assert Case().choose() == SetOutput(voltage_mv=450_000, current_ma=-45_000, charge_w=0, discharge_w=8_000)
    strong = vehicle(max_charge_ma=900_000, max_discharge_ma=900_000, max_voltage_mv=900_000)
    told = Case(**CHARGE, vehicle=strong).choose()
    assert (told.voltage_mv, told.current_ma) == (500_000, 100_000)
    assert Case(vehicle=strong).choose().current_ma == -50_000


def test_what_direct_current_is_told_by_a_schedule() -> None:
    strong = vehicle(max_charge_ma=900_000, max_discharge_ma=900_000, max_voltage_mv=900_000)
    told = Case(scheduled=True).choose()
    assert told == SetOutput(voltage_mv=400_000, current_ma=30_000, charge_w=17_000, discharge_w=8_000)
    for asked_ma, current_ma, strong_ma in ((200_000, 90_000, 100_000), (-200_000, -45_000, -50_000), (-9, -9, -9)):
        assert Case(scheduled=True, asked_ma=asked_ma).choose().current_ma == current_ma
        assert Case(scheduled=True, asked_ma=asked_ma, vehicle=strong).choose().current_ma == strong_ma
    assert Case(scheduled=True, asked_mv=480_000).choose().voltage_mv == 450_000
    assert Case(scheduled=True, asked_mv=600_000, vehicle=strong).choose().voltage_mv == 500_000


def test_what_alternating_current_is_told() -> None:
    assert Case("ac", **CHARGE).choose() == SetAcOutput(charge_w=18_000, discharge_w=0, power_w=18_000)
    assert Case("ac").choose() == SetAcOutput(charge_w=0, discharge_w=8_000, power_w=-8_000)
    assert Case("ac", scheduled=True).choose() == SetAcOutput(charge_w=17_000, discharge_w=8_000)


def test_what_a_primary_device_is_told() -> None:
    assert Case("wpt").choose() == SetWptOutput(charge_w=18_000, power_w=5_000)
    assert Case("wpt", asked_w=30_000).choose() == SetWptOutput(charge_w=18_000, power_w=18_000)
    assert Case("wpt", scheduled=True).choose() == SetWptOutput(charge_w=17_000, power_w=5_000)


# -- the grid ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta_w", "changes", "powers"),
    [
        (-3_000, CHARGE, (15_000, 0)),
        (-30_000, CHARGE, (0, 0)),
        (+3_000, CHARGE, (18_000, 0)),
        (+3_000, {**CHARGE, "setpoint_w": 10_000}, (13_000, 0)),
        (+30_000, {**CHARGE, "setpoint_w": 10_000}, (18_000, 0)),
        (+30_000, {**CHARGE, "setpoint_w": 10_000, "station": (16_000, 0)}, (16_000, 0)),
        (-13_000, {"setpoint_w": 10_000}, (0, 3_000)),
        (-30_000, {"setpoint_w": 10_000}, (0, 8_000)),
        (+3_000, {}, (0, 5_000)),
        (+9_000, {}, (1_000, 0)),
        (+40_000, {}, (18_000, 0)),
    ],
)
def test_a_droop_bends_what_would_flow(delta_w: int, changes: dict[str, Any], powers: tuple[int, int]) -> None:
    assert Case(response=GridResponse(delta_w=delta_w), **changes).powers == powers


@pytest.mark.parametrize(
    ("response", "planned_w", "powers"),
    [
        (GridResponse(delta_w=-2_000), 12_000, (10_000, 8_000)),
        (GridResponse(delta_w=-13_000), 12_000, (0, 8_000)),
        (GridResponse(delta_w=-1_000), 40_000, (17_000, 8_000)),
        (GridResponse(delta_w=0), 12_000, (17_000, 8_000)),
        (GridResponse(delta_w=+2_000), 12_000, (17_000, 0)),
        (GridResponse(delta_w=+2_000), -8_000, (17_000, 6_000)),
        (GridResponse(delta_w=+1), -20_000, (17_000, 8_000)),
        (GridResponse(delta_w=+1), -8_000, (17_000, 7_999)),
        (GridResponse(floor_w=-3_000), -8_000, (17_000, 3_000)),
        (GridResponse(floor_w=+3_000), -8_000, (17_000, 0)),
        (GridResponse(floor_w=-3_000), -1_000, (17_000, 1_000)),
        (GridResponse(ceiling_w=2_000), 12_000, (2_000, 8_000)),
        (GridResponse(ceiling_w=30_000), 12_000, (17_000, 8_000)),
        (GridResponse(ceiling_w=-3_000), 12_000, (0, 8_000)),
    ],
)
def test_a_vehicle_with_a_schedule_is_bent_from_what_it_has_planned(
    response: GridResponse, planned_w: int, powers: tuple[int, int]
) -> None:
    """Its target is the current that it asks for, at the voltage that it asks for: 400 V."""
    case = Case(scheduled=True, response=response, asked_ma=planned_w * 1_000_000 // 400_000)
    assert case.powers == powers


@pytest.mark.parametrize(
    ("response", "powers"),
    [
        (GridResponse(delta_w=-2_000), (15_000, 8_000)),
        (GridResponse(delta_w=-20_000), (0, 8_000)),
        (GridResponse(delta_w=+2_000), (17_000, 6_000)),
        (GridResponse(delta_w=+20_000), (17_000, 0)),
        (GridResponse(delta_w=-2_000, floor_w=-3_000), (15_000, 3_000)),
        (GridResponse(delta_w=-2_000, floor_w=+3_000), (15_000, 0)),
    ],
)
def test_where_the_plan_is_not_known_each_limit_is_bent(response: GridResponse, powers: tuple[int, int]) -> None:
    assert Case("ac", scheduled=True, response=response).powers == powers


# -- gradients --------------------------------------------------------------------------------------------------------

RAMP = GridResponse(ramp_percent=10.0)
"""4,000 W/s of charge and 2,000 W/s of discharge, by the rating on direct current."""


def ramped(
    kind: str = "dc", *, seconds: float = 0.5, flows_w: int = 10_000, last: Any = None, **changes: Any
) -> tuple[int, int]:
    """Return what is let flow so long after the last output."""
    fields: dict[str, Any] = {"output_ms": NOW - round(seconds * 1000), "measured": Measured(0, 0, flows_w)}
    known = SetOutput(voltage_mv=0, current_ma=0, charge_w=10_000, discharge_w=0) if last is None else last
    return Case(kind, **{"response": RAMP, "output": known, **fields, **changes}).powers


@pytest.mark.requirement("R28")
def test_power_rises_by_the_gradient_from_what_was_let_flow_last() -> None:
    assert ramped(**CHARGE) == (12_000, 0)
    assert ramped(**CHARGE, seconds=0.25) == (11_000, 0)
    assert ramped(**CHARGE, seconds=9) == (14_000, 0)  # and runs ahead of what flows by a second
    assert ramped(**CHARGE, seconds=9, flows_w=2_000) == (6_000, 0)
    assert ramped(**CHARGE, seconds=9, flows_w=-2_000) == (4_000, 0)
    assert ramped(**CHARGE, seconds=9, flows_w=0) == (4_000, 0)
    assert ramped(**CHARGE, seconds=-1) == (10_000, 0)  # UTC was set back
    assert ramped(**CHARGE, response=GridResponse()) == (18_000, 0)


def test_power_falls_at_once() -> None:
    assert ramped(**CHARGE, setpoint_w=1_000) == (1_000, 0)


def test_the_first_power_begins_at_nothing() -> None:
    case = Case(response=RAMP, measured=Measured(0, 0, 9_000), output_ms=NOW - 5_000, **CHARGE)
    assert case.powers == (0, 0)
    assert Case(response=RAMP, measured=Measured(0, 0, -5_000), output_ms=NOW - 5_000).powers == (0, 0)


def test_discharge_rises_by_its_own_rating() -> None:
    back = SetOutput(voltage_mv=0, current_ma=0, charge_w=0, discharge_w=3_000)
    assert ramped(last=back, flows_w=-3_000) == (0, 4_000)
    assert ramped(last=back, flows_w=-1_000, seconds=9) == (0, 3_000)
    assert ramped(last=back, flows_w=3_000, seconds=9) == (0, 2_000)


def test_a_gradient_holds_by_a_schedule_and_without_a_wire_as_well() -> None:
    assert ramped(scheduled=True) == (12_000, 1_000)
    alternating = SetAcOutput(charge_w=10_000, discharge_w=0)
    assert ramped("ac", scheduled=True, last=alternating) == (11_000, 500)
    assert ramped("ac", last=alternating, **CHARGE) == (11_000, 0)
    sent = SetWptOutput(charge_w=5_000, power_w=5_000)
    assert ramped("wpt", last=sent, flows_w=5_000) == (5_500, 0)
