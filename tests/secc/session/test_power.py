"""How much power may flow (`secc.session.power`): each bound by itself, to the watt, for every kind of output."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from secc.session.config import (
    AcRating,
    ControlMode,
    EnergyService,
    EvseRating,
    ProfileRules,
    SeccConfig,
    SignedDischargeConfig,
    WptRating,
)
from secc.session.d20.loop import needed
from secc.session.d20.stages import RequestContext
from secc.session.facts import SessionFacts
from secc.session.ports import Device, Measured, RecordMeter, ReportLimits, SetAcOutput, SetOutput, SetWptOutput
from secc.session.power import (
    apply_output,
    choose_output,
    direction,
    line_ma,
    loop_event,
    on_lines,
    overdraw,
    permitted,
)
from secc.session.request_context import VehicleNotice
from secc.session.stages import (
    RENEGOTIATES,
    SILENT,
    Authorized,
    Charging,
    Opened,
    Parametrised,
    Plan,
    Planned,
    Selected,
    Vehicle,
)
from secc.session.terms import OfferedTuple, PowerSpan
from tests.together import together
from v2g.energy.conductors import Currents
from v2g.energy.grid_support import GridSupport, VoltageSupport
from v2g.energy.limits import EffectiveLimits, GridResponse, Setpoint
from v2g.iso15118.d20.messages.dc import BPT_Dynamic_DC_CLReqControlMode
from v2g.iso15118.d20.quantities import rational
from v2g.observe import Observe
from v2g.safety.flow import Flow

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
CHOSEN = OfferedTuple(1, (PowerSpan(NOW, NOW + 9_000, 17_000),), (PowerSpan(NOW, NOW + 9_000, 8_500),))
LINES: dict[str, Any] = {"charge_line": (32_000, "evse"), "discharge_line": (16_000, "cable")}
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
            "turning": 0,
            "response": GridResponse(),
            "measured": Measured(400_000, 0),
            "utc_ms": NOW,
            "stopping": False,
            "ready": True,
            "trouble": "",
            "lines": 3,
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
        setpoint_w = self.values["setpoint_w"]
        known["setpoint"] = None if setpoint_w is None else Setpoint(power_w=setpoint_w, source="csms")
        device = msgspec.structs.replace(Device(), trouble=self.values["trouble"])
        return RequestContext(
            **{
                **nothing,
                **known,
                "family": self.values["service"].family,
                "station": EffectiveLimits(
                    charge_w=charge_w,
                    discharge_w=discharge_w,
                    charge_source="site",
                    discharge_source="site",
                    **LINES,
                ),
                "facts": SessionFacts(
                    measured=self.values["measured"],
                    response=self.values["response"],
                    device=device,
                    lines=self.values["lines"],
                ),
            }
        )

    @property
    def stage(self) -> Charging:
        """How far the session has come."""
        fields = {name: self.values[name] for name in Charging.__struct_fields__ if name in self.values}
        planned = Planned(Parametrised(self.selected, self.values["vehicle"]), Plan())
        return Charging(
            **{"halted": "", "asked_ma": 30_000, "asked_mv": 400_000, "asked_w": 5_000, **fields, "planned": planned}
        )

    def choose(self) -> Any:
        """Return what flows."""
        return choose_output(self.stage, self.context)[0]

    @property
    def reasons(self) -> tuple[str, str]:
        """What limits charge and discharge."""
        limits = choose_output(self.stage, self.context)[1]
        return limits.charge_source, limits.discharge_source

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
    "silent": {"halted": SILENT},
    "stopping": {"stopping": True},
}
HELD: dict[str, dict[str, Any]] = {**IDLE, "held": {"held": True}, "not ready": {"ready": False}}


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("why", HELD)
def test_nothing_flows_to_a_vehicle_that_shall_have_none(why: str, scheduled: bool) -> None:
    dc = Case("dc", scheduled=scheduled, **HELD[why]).choose()
    asked = (400_000, 30_000) if scheduled else (450_000, 90_000)
    assert dc == SetOutput(*asked, charge_w=0, discharge_w=0)
    unasked = Case("dc", scheduled=scheduled, asked_mv=0, **HELD[why]).choose()
    assert unasked == SetOutput(450_000, 90_000, charge_w=0, discharge_w=0)
    assert Case("ac", scheduled=scheduled, **HELD[why]).choose() == SetAcOutput(0, 0, 0, 0, 0)
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
    config = msgspec.structs.replace(CONFIG, signed_discharge=SignedDischargeConfig(required=False))
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
    assert permitted(case.selected, case.values["vehicle"], case.context).discharge_w == most_w


@together(
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


# -- what the hardware is commanded ------------------------------------------------------------------------------------


def test_what_direct_current_receives() -> None:
    assert Case(**CHARGE).choose() == SetOutput(voltage_mv=450_000, current_ma=90_000, charge_w=18_000, discharge_w=0)
    assert Case().choose() == SetOutput(voltage_mv=450_000, current_ma=-45_000, charge_w=0, discharge_w=8_000)
    strong = vehicle(max_charge_ma=900_000, max_discharge_ma=900_000, max_voltage_mv=900_000)
    notified = Case(**CHARGE, vehicle=strong).choose()
    assert (notified.voltage_mv, notified.current_ma) == (500_000, 100_000)
    assert Case(vehicle=strong).choose().current_ma == -50_000


def test_what_direct_current_receives_by_a_schedule() -> None:
    strong = vehicle(max_charge_ma=900_000, max_discharge_ma=900_000, max_voltage_mv=900_000)
    notified = Case(scheduled=True).choose()
    assert notified == SetOutput(voltage_mv=400_000, current_ma=30_000, charge_w=17_000, discharge_w=8_000)
    for asked_ma, current_ma, strong_ma in ((200_000, 90_000, 100_000), (-200_000, -45_000, -50_000), (-9, -9, -9)):
        assert Case(scheduled=True, asked_ma=asked_ma).choose().current_ma == current_ma
        assert Case(scheduled=True, asked_ma=asked_ma, vehicle=strong).choose().current_ma == strong_ma
    unasked = Case(scheduled=True, asked_mv=0).choose()
    assert (unasked.voltage_mv, unasked.current_ma) == (0, 30_000)
    assert Case(scheduled=True, asked_mv=480_000).choose().voltage_mv == 450_000
    assert Case(scheduled=True, asked_mv=600_000, vehicle=strong).choose().voltage_mv == 500_000


def test_what_alternating_current_receives() -> None:
    line = {"charge_ma": 32_000, "discharge_ma": 0}
    back = {"charge_ma": 0, "discharge_ma": 16_000}
    assert Case("ac", **CHARGE).choose() == SetAcOutput(18_000, 0, 18_000, **line)
    assert Case("ac").choose() == SetAcOutput(0, 8_000, -8_000, **back)
    assert Case("ac", scheduled=True).choose() == SetAcOutput(17_000, 8_000, charge_ma=32_000, discharge_ma=16_000)


@pytest.mark.parametrize(
    ("lines", "charge_w", "discharge_w"), [(1, 7_360, 3_680), (2, 14_720, 7_360), (3, 18_000, 8_000)]
)
def test_a_conductor_carries_no_more_than_it_may_on_any_number_of_them(
    lines: int, charge_w: int, discharge_w: int
) -> None:
    there = {"vehicle": vehicle(phases=lines)}
    assert Case("ac", **CHARGE, **there).choose() == SetAcOutput(charge_w, 0, charge_w, 32_000, 0, lines)
    assert Case("ac", **there).choose() == SetAcOutput(0, discharge_w, -discharge_w, 0, 16_000, lines)


@together(
    ("says", "carrying", "outlet", "in_use", "lines"),
    [
        (1, None, 3, 3, 1),
        (1, 0, 3, 3, 1),
        (1, 2, 3, 3, 2),
        (1, 3, 3, 3, 3),
        (2, 1, 3, 3, 2),
        (1, 3, 1, 3, 1),
        (1, 3, 2, 3, 2),
        (3, None, 3, 1, 1),
        (1, 3, 3, 2, 2),
    ],
)
def test_conductors_that_carry_current_count_though_the_vehicle_says_fewer(
    says: int, carrying: int | None, outlet: int, in_use: int, lines: int
) -> None:
    """As many as it says or as carry current, of those that the outlet has and that are in use."""
    currents = None if carrying is None else Currents(*([6_000] * carrying))
    config = replace(CONFIG, ac_rating=replace(CONFIG.ac_rating, phases=outlet))
    strong = vehicle(phases=says, max_charge_w=22_080, max_charge_ma=40_000)
    measured = Measured(230_000, 0, currents=currents)
    case = Case("ac", **CHARGE, config=config, vehicle=strong, measured=measured, lines=in_use)
    assert case.choose().charge_w == lines * 7_360


@together(
    ("power_w", "most_ma", "in_use", "says", "parts"),
    [
        (10_000, 32_000, 3, {}, (3_333, 3_333, 3_333)),
        (-10_000, 32_000, 2, {}, (-5_000, -5_000)),
        (10_000, 32_000, 3, {"phases": 0}, (10_000,)),
        (9_000, 32_000, 3, {"line_charge_w": (4_000, 4_000, 4_000)}, (3_000, 3_000, 3_000)),
        (9_000, 32_000, 3, {"line_charge_w": (1_000, 6_000, 6_000)}, (1_000, 4_000, 4_000)),
        (9_000, 16_000, 3, {"line_charge_w": (1_000, 6_000, 6_000)}, (1_000, 3_680, 3_680)),
        (9_000, 32_000, 2, {"line_charge_w": (1_000, 6_000, 7_000)}, (1_000, 6_000)),
        (9_000, 32_000, 2, {"line_charge_w": (4_000, 4_000, 7_000)}, (4_500, 4_500)),
        (-9_000, 32_000, 3, {"line_charge_w": (1_000, 6_000, 6_000)}, (-3_000, -3_000, -3_000)),
        (-9_000, 32_000, 3, {"line_discharge_w": (1_000, 6_000, 6_000)}, (-1_000, -4_000, -4_000)),
        (1, 32_000, 3, {"line_charge_w": (1_000, 6_000, 6_000)}, (0, 0, 1)),
        (0, 32_000, 3, {"line_discharge_w": (1_000, 6_000, 6_000)}, (0, 0, 0)),
    ],
)
def test_a_power_has_equal_parts_but_where_a_vehicle_bears_less_on_one(
    power_w: int, most_ma: int, in_use: int, says: dict[str, Any], parts: tuple[int, ...]
) -> None:
    where = Case("ac", lines=in_use).context
    assert on_lines(power_w, most_ma, vehicle(**{"phases": 3, **says}), where) == parts


def test_a_vehicle_bears_a_smaller_current_than_the_outlet() -> None:
    small = vehicle(phases=1, max_charge_ma=13_000, max_discharge_ma=10_000)
    assert Case("ac", **CHARGE, vehicle=small).choose().charge_ma == 13_000
    assert Case("ac", vehicle=small).choose().discharge_ma == 10_000


@together(
    ("volts", "charge_w"),
    [(230, 22_080), (219, 22_080), (218, 20_928), (195.5, 18_720), (115, 11_040), (114, 22_080), (0, 22_080)],
)
def test_where_the_voltage_is_low_no_more_power_is_permitted_than_conductors_carry(volts: float, charge_w: int) -> None:
    """32 A on three conductors; below half of the nominal voltage there are no mains."""
    strong = vehicle(phases=3, max_charge_w=22_080, max_charge_ma=40_000)
    case = Case("ac", **CHARGE, vehicle=strong, measured=Measured(round(volts * 1000), 0))
    assert case.choose().charge_w == charge_w


@pytest.mark.parametrize(("volts", "charge_w"), [(119, 23_040), (120, 11_520), (227, 21_792), (228, 23_040)])
def test_the_low_voltage_is_between_50_and_95_percent(volts: int, charge_w: int) -> None:
    strong = vehicle(phases=3, max_charge_w=23_040, max_charge_ma=40_000)
    config = replace(CONFIG, ac_rating=replace(CONFIG.ac_rating, nominal_voltage_v=240))
    case = Case("ac", **CHARGE, config=config, vehicle=strong, measured=Measured(volts * 1000, 0))
    assert case.choose().charge_w == charge_w


@together(
    ("most", "lines", "volts", "current_ma"),
    [
        (None, 3, 230, 16_000),
        ((10_000, "cable"), 3, 230, 10_000),
        ((20_000, "cable"), 3, 230, 16_000),
        (None, 1, 230, 48_000),
        (None, 3, 200, 18_400),
        ((18_000, "cable"), 3, 200, 18_000),
    ],
)
def test_the_current_of_a_power_is_that_of_each_conductor_within_its_limit(
    most: tuple[int, str] | None, lines: int, volts: int, current_ma: int
) -> None:
    """EVSEMaxCurrent of ISO 15118-2: 11.04 kW at the voltage that is measured."""
    case = Case("ac", measured=Measured(volts * 1000, 0))
    assert line_ma(11_040, most, lines, case.context) == current_ma


def test_what_a_primary_device_receives() -> None:
    assert Case("wpt").choose() == SetWptOutput(charge_w=18_000, power_w=5_000)
    assert Case("wpt", asked_w=30_000).choose() == SetWptOutput(charge_w=18_000, power_w=18_000)
    assert Case("wpt", scheduled=True).choose() == SetWptOutput(charge_w=17_000, power_w=5_000)


VOLT_WATT = GridSupport(volt_watt=VoltageSupport(start_v=248, stop_v=253))


@together(
    ("service", "der", "demanded", "functions", "enabled", "permits"),
    [
        ("AC_BPT", None, VOLT_WATT, "", None, True),
        ("AC_BPT", "iec", VOLT_WATT, "", None, False),
        ("AC_BPT", "iec", GridSupport(), "", None, True),
        ("DC_BPT", "iec", VOLT_WATT, "", None, True),
        ("AC_DER_IEC", "iec", VOLT_WATT, "", None, False),
        ("AC_DER_IEC", "iec", VOLT_WATT, "volt_watt", None, True),
        ("AC_DER_SAE", "sae", VOLT_WATT, "volt_watt", 1, False),
        ("AC_DER_SAE", "sae", VOLT_WATT, "volt_watt", 3, True),
    ],
)
def test_an_inverter_feeds_back_with_the_grid_support_that_is_demanded(
    service: str, der: Any, demanded: GridSupport, functions: str, enabled: int | None, permits: bool
) -> None:
    """Of the vehicle where it has it, of the charger with direct current; by SAE once discharge is enabled."""
    config = replace(CONFIG, der=der, grid_support=demanded)
    case = Case("ac", service=EnergyService[service], vehicle=vehicle(enabled=enabled), config=config)
    selected = replace(case.selected, functions=frozenset(functions.split()))
    found = permitted(selected, case.values["vehicle"], case.context)
    assert (found.discharge_w, found.discharge_source) == ((8_000, "signature") if permits else (0, "no_grid_support"))


# -- the grid ---------------------------------------------------------------------------------------------------------


@together(
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


@together(
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


@together(
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


# -- what limits ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R28")
@pytest.mark.parametrize("kind", ["dc", "ac"])
@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, ("direction", "signature")),
        (CHARGE, ("vehicle", "signature")),
        ({"station": (4_000, 2_000)}, ("direction", "site")),
        ({"station": (4_000, 2_000), **CHARGE}, ("site", "signature")),
        ({"vehicle": vehicle(max_discharge_w=3_000)}, ("direction", "vehicle")),
        ({"setpoint_w": 2_500}, ("csms", "csms")),
        ({"setpoint_w": 25_000}, ("vehicle", "csms")),
        ({"setpoint_w": -2_500}, ("csms", "csms")),
        ({"setpoint_w": -30_000}, ("csms", "signature")),
        ({"setpoint_w": 10_000, "response": GridResponse(delta_w=-3_000)}, ("grid_response", "grid_response")),
        ({"setpoint_w": 10_000, "response": GridResponse(delta_w=9_000)}, ("vehicle", "grid_response")),
        ({"setpoint_w": 10_000, "response": GridResponse(delta_w=-30_000)}, ("grid_response", "signature")),
        ({"scheduled": True}, ("schedule", "signature")),
        ({"scheduled": True, "signed_w": 9_000}, ("schedule", "schedule")),
        ({"scheduled": True, "setpoint_w": 2_500}, ("csms", "csms")),
        ({"scheduled": True, "response": GridResponse(ceiling_w=1_500, floor_w=-1_500)}, ("grid_response",) * 2),
        ({"response": GridResponse(ramp_percent=1.0), **CHARGE}, ("ramp", "signature")),
        ({"standby": True}, ("standby", "standby")),
        ({"halted": SILENT}, ("vehicle_silent", "vehicle_silent")),
        ({"halted": RENEGOTIATES}, ("renegotiation", "renegotiation")),
        ({"stopping": True, "halted": SILENT}, ("session_ends", "session_ends")),
        ({"held": True}, ("vehicle_interrupts", "vehicle_interrupts")),
        ({"ready": False}, ("vehicle_not_ready", "vehicle_not_ready")),
    ],
)
def test_the_most_restrictive_bound_is_named(kind: str, changes: dict[str, Any], reasons: tuple[str, str]) -> None:
    assert Case(kind, **changes).reasons == reasons


def test_what_else_limits_power_is_named() -> None:
    free = {
        "signed": False,
        "config": msgspec.structs.replace(CONFIG, signed_discharge=SignedDischargeConfig(required=False)),
    }
    assert Case(**free).reasons == ("vehicle", "no_setpoint")
    assert Case(service=EnergyService.DC).reasons == ("vehicle", "service")
    assert Case("wpt", trouble="foreign_object").reasons == ("obstacle", "obstacle")


@pytest.mark.requirement("R28")
@together(
    ("turning", "changes", "current_ma", "reasons"),
    [
        (-1, {}, 0, ("direction", "direction_change")),
        (1, {}, -45_000, ("direction", "signature")),
        (1, CHARGE, 0, ("direction_change", "signature")),
        (-1, CHARGE, 90_000, ("vehicle", "signature")),
        (-1, {"scheduled": True, "asked_ma": -9_000}, 0, ("schedule", "direction_change")),
        (-1, {"scheduled": True, "asked_ma": 9_000}, 9_000, ("schedule", "signature")),
        (1, {"scheduled": True, "asked_ma": 9_000}, 0, ("direction_change", "signature")),
        (1, {"standby": True}, 90_000, ("standby", "standby")),
    ],
)
def test_power_in_the_other_direction_waits_and_its_limits_stay(
    turning: int, changes: dict[str, Any], current_ma: int, reasons: tuple[str, str]
) -> None:
    case, free = Case("dc", turning=turning, **changes), Case("dc", **changes)
    assert (case.choose().current_ma, case.reasons) == (current_ma, reasons)
    limits = choose_output(case.stage, case.context)[1]
    waits = {"direction_change": 0}
    assert waits.get(reasons[0], limits.charge_w) == limits.charge_w
    assert waits.get(reasons[1], limits.discharge_w) == limits.discharge_w
    assert case.powers == free.powers
    assert Case("ac", **{**changes, "turning": turning}).choose() == Case("ac", **changes).choose()


@together(
    ("output", "way"),
    [
        (SetOutput(400_000, 1, charge_w=1, discharge_w=0), 1),
        (SetOutput(400_000, 1, charge_w=0, discharge_w=1), 0),
        (SetOutput(400_000, 0, charge_w=1, discharge_w=1), 0),
        (SetOutput(400_000, -1, charge_w=0, discharge_w=1), -1),
        (SetOutput(400_000, -1, charge_w=1, discharge_w=0), 0),
        (SetAcOutput(charge_w=5, discharge_w=5, power_w=1), 1),
        (SetAcOutput(charge_w=5, discharge_w=5, power_w=-1), -1),
        (SetAcOutput(charge_w=5, discharge_w=5, power_w=0), 0),
        (SetAcOutput(charge_w=5, discharge_w=5), 1),
        (SetAcOutput(charge_w=0, discharge_w=5), -1),
        (SetAcOutput(charge_w=0, discharge_w=0), 0),
        (SetWptOutput(charge_w=5, power_w=1), 1),
        (SetWptOutput(charge_w=5, power_w=0), 0),
    ],
)
def test_the_direction_of_an_output(output: Any, way: int) -> None:
    assert direction(output) == way


def test_a_vehicle_that_leaves_the_direction_to_the_charger_discharges_only_by_a_set_point() -> None:
    both = vehicle(cycled=True)
    assert Case(vehicle=both).powers == (18_000, 0)
    assert Case(vehicle=both, setpoint_w=-3_000).powers == (0, 3_000)
    assert Case(vehicle=both, setpoint_w=-9_000).powers == (0, 8_000), "no more than is signed"
    assert Case(vehicle=both, setpoint_w=4_000).powers == (4_000, 0)
    assert Case(vehicle=both, setpoint_w=0).powers == (0, 0)


def test_needs_say_whether_the_charger_decides() -> None:
    def mode(least_wh: int, v2x_wh: int | None) -> BPT_Dynamic_DC_CLReqControlMode:
        zero = rational(0, 0)
        return BPT_Dynamic_DC_CLReqControlMode(
            ev_target_energy_request=zero, ev_maximum_energy_request=rational(5_000, 0),
            ev_minimum_energy_request=rational(least_wh, 0), ev_maximum_charge_power=zero,
            ev_minimum_charge_power=zero, ev_maximum_charge_current=zero, ev_maximum_voltage=zero,
            ev_minimum_voltage=zero, ev_maximum_discharge_power=zero, ev_minimum_discharge_power=zero,
            ev_maximum_discharge_current=zero,
            ev_minimum_v2x_energy_request=None if v2x_wh is None else rational(v2x_wh, 0),
        )  # fmt: skip

    assert needed(mode(-1_000, -500)) == {"cycled": True}
    assert needed(mode(-1_000, None)) == needed(mode(0, -500)) == {"cycled": False}
    assert needed(mode(1_000, 1_000)) == {"cycled": False, "max_discharge_w": 0}


# -- what the hardware, the journal and the log receive ----------------------------------------------------------------


def limits(charge_source: str = "vehicle", discharge_source: str = "signature", *, charge_w: int = 18_000) -> Any:
    return EffectiveLimits(
        charge_w=charge_w,
        discharge_w=0,
        charge_source=charge_source,
        discharge_source=discharge_source,
        **LINES,
    )


def test_a_new_output_reaches_the_hardware_first_then_the_journal_then_the_log() -> None:
    case = Case("ac", setpoint_w=-3_000, measured=Measured(230_000, -13_000), vehicle=vehicle(soc=70))
    stage, commands = apply_output(case.stage, case.context)
    output, found = choose_output(case.stage, case.context)
    assert (stage.output, stage.limits) == (output, found)
    limited_by = (found.charge_source, found.discharge_source)
    shown = {
        "charge_limit_w": found.charge_w,
        "charge_limited_by": limited_by[0],
        "discharge_limit_w": found.discharge_w,
        "discharge_limited_by": limited_by[1],
    }
    assert commands == (
        output,
        ReportLimits(*limited_by),
        Observe("power", "limited", shown),
        RecordMeter("direction", power_w=-2_990, soc=70),
        Observe("power", "direction", {"direction": "discharging"}),
    )
    again, repeated = apply_output(stage, case.context)
    assert (again, repeated) == (stage, ())


@together(
    ("before_w", "changes", "notified"),
    [
        (5_000, {"setpoint_w": -3_000}, ["discharging"]),
        (-5_000, {"setpoint_w": 4_000}, ["charging"]),
        (5_000, {"setpoint_w": 4_000}, []),
        (-5_000, {"setpoint_w": -3_000}, []),
        (5_000, {"halted": SILENT}, ["idle"]),
        (None, {"setpoint_w": 4_000}, ["charging"]),
        (None, {"halted": SILENT}, []),
    ],
)
def test_the_meter_is_read_where_the_direction_changes(
    before_w: int | None, changes: dict[str, Any], notified: list[str]
) -> None:
    before = None
    if before_w is not None:
        before = SetAcOutput(charge_w=max(0, before_w), discharge_w=max(0, -before_w), power_w=before_w)
    case = Case("ac", **changes, output=before)
    _, commands = apply_output(case.stage, case.context)
    events = [each for each in commands if isinstance(each, Observe) and each.name == "direction"]
    assert [each.data["direction"] for each in events] == notified
    assert len([each for each in commands if isinstance(each, RecordMeter)]) == len(notified)


@pytest.mark.parametrize(
    ("known", "reported"),
    [
        (None, True),
        (limits(), False),
        (limits(charge_w=17_000), False),
        (limits("site"), True),
        (limits(discharge_source="site"), True),
    ],
)
def test_what_limits_is_reported_when_it_changes_and_amounts_are_kept(known: Any, reported: bool) -> None:
    case = Case("ac", signed_w=0, limits=known)
    stage, commands = apply_output(case.stage, case.context)
    assert stage.limits == limits()
    assert (ReportLimits("vehicle", "signature") in commands) is reported
    assert any(isinstance(each, Observe) and each.name == "limited" for each in commands) is reported


@pytest.mark.parametrize(("percent", "ms"), [(None, 0), (10, NOW)])
def test_the_time_of_the_output_is_kept_while_power_rises_by_a_gradient(percent: int | None, ms: int) -> None:
    case = Case("ac", response=GridResponse(ramp_percent=percent))
    stage, _ = apply_output(case.stage, case.context)
    assert stage.output_ms == ms


@pytest.mark.parametrize("notice", [None, VehicleNotice("StopCharging", 10.0)])
def test_the_event_of_a_loop_shows_what_flows_and_what_limits_it(notice: VehicleNotice | None) -> None:
    case = Case("ac", limits=limits(), notice=notice, measured=Measured(230_000, 20_000), vehicle=vehicle(soc=55))
    assert loop_event(case.stage, case.context) == (
        Observe(
            "loop",
            "response",
            {
                "power_w": 4_600,
                "voltage_mv": 230_000,
                "current_ma": 20_000,
                "charge_limit_w": 18_000,
                "charge_limited_by": "vehicle",
                "discharge_limit_w": 0,
                "discharge_limited_by": "signature",
                "soc": 55,
                "notice": None if notice is None else "StopCharging",
            },
        ),
    )


def test_there_is_no_such_event_where_none_is_wanted_or_nothing_is_known() -> None:
    silent = msgspec.structs.replace(CONFIG, loop_events=False)
    without = Case("ac", limits=limits(), notice=None, config=silent)
    unknown = Case("ac", limits=None, notice=None)
    assert loop_event(without.stage, without.context) == loop_event(unknown.stage, unknown.context) == ()


@together(
    ("watts", "above_w", "violated"),
    [
        (10_000, 0, False),
        (10_650, 650, False),
        (10_651, 651, True),
        (-4_500, 500, False),
        (-4_501, 501, True),
        (0, -4_000, False),
    ],
)
def test_an_ac_vehicle_may_exceed_its_power_by_the_margin(watts: int, above_w: int, violated: bool) -> None:
    allowed = SetAcOutput(charge_w=10_000, discharge_w=4_000, power_w=None)
    flow, found = Flow(), []
    for now in (70.0, 79.99, 80.0):
        case = Case("ac", output=allowed, flow=flow, now=now, measured=Measured(0, 0, power_w=watts))
        stage, above, level = overdraw(case.stage, case.context)
        assert above == above_w
        flow = stage.flow
        found.append(level)
    assert found == (["warn", "warn", "fail"] if violated else ["", "", ""])


@together(
    ("margin_w", "watts", "violated"),
    [(500, 150, False), (500, 151, True), (500, -151, True), (100, 100, False), (100, 101, True), (0, 2, True)],
)
def test_where_nothing_is_permitted_only_the_sensor_s_error_is(margin_w: int, watts: int, violated: bool) -> None:
    config = msgspec.structs.replace(CONFIG, profile=ProfileRules(margin_w=margin_w))
    nothing = SetAcOutput(charge_w=0, discharge_w=0, power_w=0)
    case = Case("ac", output=nothing, now=80.0, measured=Measured(0, 0, power_w=watts), config=config)
    assert overdraw(case.stage, case.context)[2] == ("warn" if violated else "")


@pytest.mark.parametrize(("warn_s", "warned_s"), [(2.0, 2.0), (5.0, 5.0), (10.0, 6.25)])
def test_a_lower_power_may_be_followed_for_five_seconds_or_until_it_is_warned(warn_s: float, warned_s: float) -> None:
    """What is exceeded then counts four times where it is as large as this."""
    config = msgspec.structs.replace(CONFIG, profile=ProfileRules(warn_s=warn_s))
    flow, warned = Flow(), []
    for step in range(120):
        now = step / 10
        allowed = SetAcOutput(charge_w=1_000 if step > 10 else 10_000, discharge_w=0, power_w=None)
        case = Case("ac", output=allowed, flow=flow, now=now, measured=Measured(0, 0, power_w=10_000), config=config)
        stage, _, level = overdraw(case.stage, case.context)
        flow = stage.flow
        warned += [now] if level else []
    assert warned[0] - 1.1 == pytest.approx(warned_s + 0.1, abs=0.11)


def overdrawn(*, on_s: float, off_s: float, watts: int) -> float | None:
    """Return when a vehicle is disconnected that draws more than nothing in turns, each half second; 1 h at most."""
    flow = Flow()
    for step in range(7_200):
        now = step / 2
        measured = Measured(0, 0, power_w=watts if now % (on_s + off_s) < on_s else 0)
        nothing = SetAcOutput(charge_w=0, discharge_w=0, power_w=0)
        case = Case("ac", output=nothing, flow=flow, now=now, measured=measured)
        stage, _, level = overdraw(case.stage, case.context)
        flow = stage.flow
        if level == "fail":
            return now
    return None


@pytest.mark.parametrize(("on_s", "off_s"), [(4.5, 0.5), (3.0, 1.0), (1.0, 1.0), (1.0, 9.0), (0.5, 4.5)])
@pytest.mark.parametrize("watts", [22_000, -11_000])
def test_dips_do_not_hide_what_a_vehicle_draws(on_s: float, off_s: float, watts: int) -> None:
    took = overdrawn(on_s=on_s, off_s=off_s, watts=watts)
    assert took is not None
    assert took <= 10.0 if on_s > 1 else took <= 300.0


def test_a_vehicle_may_follow_a_lower_power_for_five_seconds_each_time() -> None:
    flow = Flow()
    for step in range(1_200):
        now = step / 2
        least_w = 6_000 if int(now / 10) % 2 else 11_000
        drawn_w = 11_000 if now % 20 < 14.5 else 6_000
        allowed = SetAcOutput(charge_w=least_w, discharge_w=0, power_w=None)
        case = Case("ac", output=allowed, flow=flow, now=now, measured=Measured(0, 0, power_w=drawn_w))
        stage, _, level = overdraw(case.stage, case.context)
        flow = stage.flow
        assert level == "", now
