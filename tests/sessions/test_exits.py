"""Every way out of the charge loop, in every edition: what flows when the loop is left, and when contactors open.

The plant's current follows its commands at 100 A/s (what IEC 61851-23 asks of a charger at least), so that a loop that
is left at once is left under load.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from evcc.policy.battery import BatteryConfig
from evcc.session import ports as ev
from evcc.session.settings import AuthorizationConfig, DischargeConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import ControlMode, EnergyService, SeccConfig
from tests.sessions.joined import Joined, Plant
from tests.sessions.joined_messages import MessageJoined
from v2g.energy.limits import SITE, Limit
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2g_message import body_of

pytestmark = pytest.mark.requirement("R15")

MA_PER_MS: Final = 100
NO_LOAD_MA: Final = 1_000
BATTERY: Final = BatteryConfig(soc=60.0)
STARTS: Final = ("Start", "True")
VEHICLE: Final = SessionConfig(
    program=(ProgramStep(do="charge", energy_wh=5),), authorization=AuthorizationConfig(allow_eim=True)
)


class SlowPlant(Plant):
    """A plant whose current moves towards what is commanded."""

    present_ma = 0

    def flow(self) -> tuple[int, int]:
        voltage, wanted_ma = super().flow()
        connected = self.evse_closed and (self.ev_closed or self.ac_w is not None)
        return voltage, self.present_ma if connected and wanted_ma is not None else 0

    def advance(self, utc_ms: int) -> None:
        wanted_ma, most = super().flow()[1], (utc_ms - self._utc_ms) * MA_PER_MS
        self.present_ma += max(-most, min(most, wanted_ma - self.present_ma))
        super().advance(utc_ms)


def leaves(message: Any) -> bool:
    """Return whether a request leaves the charge loop."""
    body = body_of(message)
    if type(body).__name__ != "PowerDeliveryReq":
        return False
    asked = getattr(body, "charge_progress", None)
    return (asked.name if asked is not None else str(body.ready_to_charge_state)) not in STARTS


def exits_of(kind: type[Joined]) -> type[Joined]:
    """Return the kind of pair with a slow plant that notes the current at every exit."""

    class Exits(kind):  # type: ignore[valid-type, misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, scale=1.0, battery=BATTERY, **options)
            self.plant = SlowPlant(BATTERY, self.origin)
            self.left: list[tuple[str, int]] = []
            self.wire_to_secc = self.note

        def note(self, data: bytes) -> bytes:
            message = self.evcc_actions[-1].message
            if message is not None and leaves(message):
                self.left.append(("loop", self.plant.flow()[1]))
            return data

        def obey_vehicle(self, command: Command) -> Fact | None:
            if isinstance(command, ev.OpenContactor):
                self.left.append(("vehicle's contactor", self.plant.flow()[1]))
            fact: Fact | None = super().obey_vehicle(command)
            return fact

        def obey_charger(self, command: Command) -> Fact | None:
            if isinstance(command, se.OpenContactors):
                self.left.append(("charger's contactor", self.plant.flow()[1]))
            fact: Fact | None = super().obey_charger(command)
            return fact

    return Exits


def older(edition: str) -> Callable[[PkiTree, SessionConfig], Any]:
    made = exits_of(MessageJoined)
    return lambda pki, config: made(edition, pki, time.time_ns() // 1_000_000, vehicle=config)


def newest(service: str, mode: str) -> Callable[[PkiTree, SessionConfig], Any]:
    made = exits_of(Joined)
    charger = SeccConfig(
        services=tuple(EnergyService), authorization=(Authorization.EIM,), control_modes=tuple(ControlMode)
    )

    def make(pki: PkiTree, config: SessionConfig) -> Any:
        services = ServiceConfig(energy=(service,), control_mode=(mode,))  # type: ignore[arg-type]
        return made(pki, time.time_ns() // 1_000_000, vehicle=replace(config, services=services), charger=charger)

    return make


EDITIONS: Final = {
    "din": older("din"),
    "2-dc": older("2-dc"),
    "2-ac": older("2-ac"),
    "20-dc": newest("DC", "scheduled"),
    "20-dc-dynamic": newest("DC", "dynamic"),
    "20-bpt": newest("DC_BPT", "dynamic"),
    "20-ac": newest("AC", "scheduled"),
    "20-ac-dynamic": newest("AC", "dynamic"),
    "20-mcs": newest("MCS", "scheduled"),
}
SCHEDULED: Final = ("2-dc", "2-ac", "20-dc", "20-ac", "20-mcs")
NEWEST: Final = tuple(name for name in EDITIONS if name.startswith("20"))


def vehicle(fact: Fact) -> Callable[[Joined], None]:
    return lambda joined: joined.evcc.fact(fact, joined.now, joined.utc_ms)


def charger(fact: Fact) -> Callable[[Joined], None]:
    return lambda joined: joined.secc.fact(fact, joined.now, joined.utc_ms)


def renegotiating(joined: Joined) -> None:
    charger(se.GridChanged((Limit(source=SITE, charge_w=21_000, discharge_w=0, version=2),)))(joined)
    charger(se.RenegotiationRequested())(joined)


def broken(joined: Joined) -> None:
    vehicle(replace(joined.plant.battery.state, fault="cell_overvoltage"))(joined)


EXITS: Final = {
    "the program ends": lambda joined: None,
    "the owner stops": vehicle(ev.StopRequested("owner")),
    "the owner pauses": vehicle(ev.StopRequested("owner", pause=True)),
    "the battery has a fault": broken,
    "the operator stops": charger(se.StopRequested("operator")),
    "the charger renegotiates": renegotiating,
    "the owner needs more": vehicle(ev.NeedsChanged(target_soc=95)),
}


def leave(joined: Any, way: Callable[[Any], None]) -> None:
    joined.run(lambda: abs(joined.plant.flow()[1]) > 10_000)
    way(joined)
    joined.settle()
    joined.run()
    assert joined.left
    for what, current_ma in joined.left:
        assert abs(current_ma) <= NO_LOAD_MA, f"{what}: {current_ma} mA"


@pytest.mark.some(16)
@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("way", EXITS)
def test_no_loop_is_left_and_no_contactor_opens_under_load(pki: PkiTree, edition: str, way: str) -> None:
    joined = EDITIONS[edition](pki, VEHICLE)
    leave(joined, EXITS[way])
    if way == "the charger renegotiates" and edition in SCHEDULED:
        assert joined.vehicle_saw("schedule", "renegotiating")


def test_a_charger_lets_no_vehicle_renegotiate_under_load(pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vehicle asks for other parameters while current flows, and opens its contactor as soon as it may."""
    monkeypatch.setattr("evcc.session.steps.flows", lambda *_: False)
    joined = EDITIONS["2-dc"](pki, replace(VEHICLE, program=(ProgramStep(do="charge", energy_wh=500),)))
    joined.run(lambda: abs(joined.plant.flow()[1]) > 10_000)
    EXITS["the charger renegotiates"](joined)
    joined.run(lambda: len(joined.left) == 2)
    (loop, under_load), (contactor, current_ma) = joined.left
    assert (loop, contactor) == ("loop", "vehicle's contactor")
    assert under_load > NO_LOAD_MA >= current_ma


@pytest.mark.parametrize("edition", NEWEST)
def test_standby_begins_without_current(pki: PkiTree, edition: str) -> None:
    charge = ProgramStep(do="charge", energy_wh=2)
    program = (charge, ProgramStep(do="wait", for_s=5, standby=True), charge)
    leave(EDITIONS[edition](pki, replace(VEHICLE, program=program)), EXITS["the program ends"])


@pytest.mark.parametrize("way", EXITS)
def test_a_discharge_is_left_as_a_charge_is(pki: PkiTree, way: str) -> None:
    config = replace(
        VEHICLE, program=(ProgramStep(do="discharge", energy_wh=5),), discharge=DischargeConfig(minimum_soc=20.0)
    )
    charger = SeccConfig(services=(EnergyService.DC_BPT,))
    joined: Any = exits_of(Joined)(pki, time.time_ns() // 1_000_000, vehicle=config, charger=charger)
    leave(joined, EXITS[way])
    assert joined.exported_mwh() > 0
