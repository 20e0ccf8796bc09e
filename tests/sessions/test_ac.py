"""Our vehicle at our charge point with alternating current, joined in memory."""

import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from evcc.session.settings import OnBoardChargerConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import AcRating, ControlMode, EnergyService, SeccConfig
from tests.sessions.joined import Joined, messages
from v2g import exi
from v2g.energy.limits import SITE, Limit
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.ac import AC_ChargeLoopReq, AC_ChargeLoopRes
from v2g.iso15118.d20.messages.common_messages import PowerDeliveryReq, ScheduleExchangeRes
from v2g.iso15118.d20.quantities import PHASES, integer, rational
from v2g.iso15118.d20.schemas import AC
from v2g.iso15118.engine.v2gtp import PayloadType, frame

SERVICES = (EnergyService.AC_BPT, EnergyService.AC, EnergyService.DC_BPT, EnergyService.DC)
CHARGE = ProgramStep(do="charge", energy_wh=200)
DISCHARGE = ProgramStep(do="discharge", energy_wh=100)

Join = Callable[..., Joined]


def vehicle(*services: str, mode: str = "dynamic", phases: int = 3) -> SessionConfig:
    return SessionConfig(
        program=(CHARGE, DISCHARGE) if "AC_BPT" in services else (CHARGE,),
        services=ServiceConfig(energy=services, control_mode=(mode,)),  # type: ignore[arg-type]
        on_board_charger=OnBoardChargerConfig(phases=phases),  # type: ignore[arg-type]
    )


@pytest.fixture
def join(pki: PkiTree) -> Join:
    """Return a maker of joined pairs whose charge point serves everything."""
    charger = SeccConfig(services=SERVICES)
    return lambda **options: Joined(pki, time.time_ns() // 1_000_000, **{"charger": charger, **options})


@pytest.mark.parametrize("phases", [1, 3])
@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
@pytest.mark.parametrize("service", ["AC", "AC_BPT"])
def test_energy_flows_and_both_sides_agree_on_it(join: Join, service: str, mode: str, phases: int) -> None:
    joined = join(vehicle=vehicle(service, mode=mode, phases=phases))
    joined.complete()
    assert joined.secc.family is joined.evcc.family is Family.AC
    assert not joined.plant.evse_closed
    assert joined.vehicle_saw("service", "selected")[0]["service"] == service
    battery = joined.plant.battery.state
    assert joined.imported_mwh() == pytest.approx(battery.charged_mwh, abs=1_000)
    assert joined.exported_mwh() == pytest.approx(battery.discharged_mwh, abs=1_000)
    assert 200_000 <= battery.charged_mwh < 210_000
    assert (100_000 <= battery.discharged_mwh < 110_000) == (service == "AC_BPT")
    reported = joined.vehicle_saw("metering", "reading")[-1]
    assert reported["charged_wh"] == pytest.approx(200, abs=5)


def test_the_kind_of_current_that_the_vehicle_prefers_is_taken(join: Join) -> None:
    joined = join(vehicle=vehicle("DC", "AC"))
    joined.run()
    assert joined.vehicle_saw("service", "selected")[0]["service"] == "DC"


def test_a_charger_that_serves_only_the_second_choice_gets_it(join: Join) -> None:
    joined = join(vehicle=vehicle("DC", "AC"), charger=SeccConfig(services=(EnergyService.AC,)))
    joined.run()
    assert joined.vehicle_saw("service", "selected")[0]["service"] == "AC"
    assert joined.evcc_reason == "finished"


def test_nothing_in_common_ends_before_a_session(join: Join) -> None:
    joined = join(vehicle=vehicle("AC"), charger=SeccConfig())
    joined.run()
    assert joined.evcc_reason == "Failed_NoNegotiation"


def test_the_vehicle_follows_a_falling_limit_with_its_next_loop(join: Join) -> None:
    charger = SeccConfig(services=SERVICES, ac_rating=AcRating(max_charge_power_w=11_000))
    joined = join(vehicle=vehicle("AC"), charger=charger)
    joined.run(until=lambda: joined.plant.ac_w is not None and joined.plant.ac_w > 10_000)
    joined.secc.fact(
        se.GridChanged((Limit(source=SITE, charge_w=4_200, discharge_w=0, version=9),)), joined.now, joined.utc_ms
    )
    changed = joined.now
    joined.run(until=lambda: joined.plant.ac_w == 4_200)
    assert joined.now - changed < 0.5


@pytest.mark.parametrize(("phases", "most_w"), [(1, 3_000), (2, 6_000), (3, 10_998)])
@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_a_vehicle_on_fewer_phases_keeps_the_asymmetry_that_is_permitted(
    join: Join, mode: str, phases: int, most_w: int
) -> None:
    charger = SeccConfig(services=SERVICES, ac_rating=AcRating(max_asymmetry_w=3_000))
    joined = join(vehicle=vehicle("AC_BPT", mode=mode, phases=phases), charger=charger)
    powers: list[int] = []
    while not joined.evcc.closed:
        joined.run(until=lambda: True)
        joined.advance()
        powers.append(joined.plant.ac_w or 0)
    assert joined.evcc_reason == "finished"
    assert max(powers) == most_w
    assert -most_w <= min(powers) < 0


@pytest.mark.parametrize("mode", [ControlMode.DYNAMIC, ControlMode.SCHEDULED])
def test_a_schedule_and_a_target_never_ask_for_more_than_the_on_board_charger_can(
    join: Join, mode: ControlMode
) -> None:
    joined = join(vehicle=vehicle("AC", mode=mode.name.lower()))
    powers: list[int] = []
    while not joined.evcc.closed:
        joined.run(until=lambda: True)
        joined.advance()
        powers.append(joined.plant.ac_w or 0)
    assert 0 < max(powers) <= 11_000


@pytest.mark.parametrize(
    ("mode", "target_w", "drawn_w"),
    [
        ("dynamic", (3000, None, 3000), 0),
        ("dynamic", (3000, 2000, None), 4000),
        ("dynamic", (450, 450, 450), 0),
        ("scheduled", (None, 0, 0), 0),
    ],
)
def test_a_balanced_load_keeps_to_the_target_of_each_phase_and_to_its_own_minimum(
    join: Join, mode: str, target_w: tuple[int | None, ...], drawn_w: int
) -> None:
    changed = {
        f"evse_target_active_power{phase}": None if each is None else rational(each, 0)
        for phase, each in zip(PHASES, target_w, strict=True)
    }

    def other_targets(data: bytes) -> bytes:
        if int.from_bytes(data[2:4], "big") != PayloadType.AC:
            return data
        message = exi.decode(data[8:], AC)
        if not isinstance(message, AC_ChargeLoopRes):
            return data
        mode = replace(message.cl_res_control_mode, **changed)
        return frame(PayloadType.AC, exi.encode(replace(message, cl_res_control_mode=mode)))

    joined = join(vehicle=vehicle("AC", mode=mode))
    joined.wire_to_evcc = other_targets
    joined.run(until=lambda: len(joined.vehicle_saw("loop", "flow")) > 10)
    assert joined.plant.ac_w == drawn_w


@pytest.mark.parametrize("phases", [1, 3])
def test_the_profile_has_the_phases_of_the_schedule(join: Join, phases: int) -> None:
    joined = join(vehicle=vehicle("AC", mode="scheduled", phases=phases))
    joined.run()
    (answered,) = messages(joined.secc_actions, ScheduleExchangeRes)
    (begun, _) = messages(joined.evcc_actions, PowerDeliveryReq)
    schedule = answered.scheduled_se_res_control_mode.schedule_tuple[0].charging_schedule.power_schedule
    offered = schedule.power_schedule_entries.power_schedule_entry[0]
    planned = begun.ev_power_profile.ev_power_profile_entries.ev_power_profile_entry[0]
    for each in (offered, planned):
        assert [getattr(each, "power" + phase) is not None for phase in PHASES] == [True, phases == 3, phases == 3]


@pytest.mark.parametrize("lines", [1, 3])
def test_the_present_power_is_that_of_the_phases_with_voltage(join: Join, lines: int) -> None:
    joined = join(vehicle=vehicle("AC"))
    joined.plant.ac_lines = lines
    joined.run(until=lambda: len(joined.vehicle_saw("loop", "flow")) > 10)
    mode = messages(joined.evcc_actions, AC_ChargeLoopReq)[-1].cl_req_control_mode
    given = [value for phase in PHASES if (value := getattr(mode, "ev_present_active_power" + phase)) is not None]
    assert len(given) == lines
    assert sum(integer(each, 0, 1 << 20) for each in given) == pytest.approx(joined.plant.ac_w, abs=10)
