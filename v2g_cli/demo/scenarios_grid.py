"""Scenarios of `v2g demo` in which grid and market steer the vehicles, through plans of the back end."""

from typing import Final

from csms.fleets.rules import Fleet, Peak
from v2g_cli.demo.scenario import Scenario

_MINUTE_MS: Final = 60_000
_DAY_MIN: Final = 1440

_FOLLOW: Final = '[services]\nenergy = ["DC_BPT"]\ncontrol_mode = ["dynamic"]\n'
"""The vehicle leaves the direction of energy to the charger's set-point."""

DEPOT_PEAK_W: Final = 12_000
_EACH: Final = "max_charge_power_w = 20000\n"


def _neighbour(capacity_wh: int, soc: float, target_soc: float, stay_s: int) -> str:
    return (
        f"[battery]\ncapacity_wh = {capacity_wh}\nsoc = {soc}\n{_EACH}\n"
        f"[needs]\ndeparture_after_s = {stay_s}\ntarget_soc = {target_soc}\nminimum_soc = 20\n\n{_FOLLOW}"
    )


def _depot(begin_ms: int) -> Fleet:
    """Return a fleet with a peak from 40 to 80 minutes after the start."""
    begin = begin_ms // _MINUTE_MS + 40
    peak = Peak(
        from_minute=begin % _DAY_MIN, until_minute=(begin + 40) % _DAY_MIN or _DAY_MIN, import_limit_w=DEPOT_PEAK_W
    )
    return Fleet(id="depot", peak=peak)


def _market(begin_ms: int) -> Fleet:
    return Fleet(id="market", zone="Europe/Berlin", charge_efficiency=0.98, discharge_efficiency=0.98)


GRID: Final[tuple[Scenario, ...]] = (
    Scenario(
        name="openadr",
        about="a VTN of OpenADR publishes prices and an event: less power, then power from the vehicle, then as before",
        ending="whole",
        vtn=True,
        evcc_tables=_FOLLOW,
        program='[[program]]\ndo = "follow"\nfor_s = {stay_s}\n',
        sees=(
            ("csms", "ocpp", "openadr_connected", {}),
            ("csms", "ocpp", "setpoint_dispatched", {"setpoint_w": "-6000", "vehicles": "1"}),
            ("csms", "ocpp", "openadr_reported", {"intervals": "2"}),
        ),
    ),
    Scenario(
        name="depot",
        about="three vehicles at one connection are planned together: a peak limit is kept, and all get what they need",
        ending="beside",
        battery=f"capacity_wh = 60000\nsoc = 55.0\n{_EACH}",
        fleet=_depot,
        stay_s=8_100,
        neighbours=(_neighbour(80_000, 45.0, 60.0, 9_000), _neighbour(40_000, 50.0, 75.0, 7_200)),
        evcc_tables=_FOLLOW,
        program='[[program]]\ndo = "follow"\n',
        command_s=2700,
    ),
    Scenario(
        name="arbitrage",
        about="real prices of a day (DE-LU, 4 May 2024): the vehicle buys cheap and sells dear; the bill and the plan",
        ending="whole",
        fleet=_market,
        prices="energy-charts-de-lu-2024-05-04.json",
        local_time=("Europe/Berlin", 10, 21),
        time_scale=1000.0,
        battery="capacity_wh = 60000\nsoc = 70.0\n",
        trades=True,
        least_price="0.05",
        command_s=3600,
        evcc_tables=_FOLLOW,
        program='[[program]]\ndo = "wait"\nfor_s = 1800\n\n[[program]]\ndo = "follow"\n',
    ),
)
"""Events of a grid operator, limits of a connection, prices of a market."""
