"""A vehicle of ours and the reference charger joined in memory: the clock in the hand, hardware that obeys at once."""

import time
from collections.abc import Callable
from typing import Any

from evcc.policy.battery import Battery, BatteryConfig
from evcc.session import ports
from evcc.session.contracts import Contract
from evcc.session.d20.session import VehicleSession
from evcc.session.edition import Connection
from evcc.session.settings import AuthorizationConfig, DischargeConfig, ProgramStep, ServiceConfig, SessionConfig
from evcc.session.vehicle import Vehicle
from pki_tools.tree import PkiTree
from tests.testkit.meeting import Meeting
from tests.testkit.rig import counter
from tests.trees import known
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine.session import Command, Fact, Session
from v2g_testkit.cases.case import Case, Result, Seen, judge
from v2g_testkit.cases.editions import VEHICLES, Edition
from v2g_testkit.cases.scripted_charger import PilotSeen, ScriptedCharger

BOTH = (Authorization.PnC, Authorization.EIM)


def settings(family: Family) -> SessionConfig:
    """Return a vehicle that only charges, and would for long."""
    energy: tuple[str, ...] = (family.value,)
    return SessionConfig(
        program=(ProgramStep(do="charge", for_s=3600),),
        services=ServiceConfig(energy=energy, signed_discharge=False),  # type: ignore[arg-type]
        authorization=AuthorizationConfig(allow_eim=True),
        discharge=DischargeConfig(require_signed=False),
    )


class EvccRig:
    """Vehicles of one kind, a new one for each visit, and the charger that tests them."""

    def __init__(
        self,
        pki: PkiTree,
        family: Family,
        *,
        config: SessionConfig | None = None,
        kind: Callable[..., Vehicle] = VehicleSession,
        edition: Edition = Edition.ISO20,
        measures_pilot: bool = True,
        keeps: bool = True,
    ) -> None:
        self.keeps = keeps
        """Whether vehicles remember what they have paused."""
        self.measures_pilot = measures_pilot
        self.pki, self.family, self.kind, self.edition = known(pki), family, kind, edition
        self.config = config or settings(family)
        self.now, self.utc_ms = 100.0, time.time_ns() // 1_000_000
        self.seen: list[Seen] = []
        self.timed: Seen | None = None
        self.garble: Callable[[bytes], bytes] = lambda data: data
        """What the charger gets for a frame of the vehicle."""
        self.before: _Visit | None = None
        """The vehicle's last visit in an earlier case, whose session it may have paused."""
        self.latest: _Visit | None = None

    def credentials(self, pay: str) -> dict[str, Any]:
        """Return what a vehicle of the edition knows of certificates."""
        if self.edition is Edition.DIN:
            return {}
        contract = Contract(self.pki.chain("contract"), self.pki.key("contract"))
        if self.edition is Edition.ISO2 and pay != "PnC":
            return {}  # without TLS
        return {"secc_certificate": self.pki.chain("secc")[0], "contracts": (contract,)}

    def run(self, case: Case) -> Result:
        """Play a case and judge it; `seen` is what was seen."""
        self.seen = []
        visit: _Visit | None = None
        for script in case.charger_scripts:
            if case.group == "TIM" and self.timed is not None:
                self.seen.append(self.timed)
                continue
            pays = {"EIM": (Authorization.EIM,), "PnC": (Authorization.PnC,), "": (Authorization.EIM,)}[script.pay]
            entropy = counter(1 + 1000 * len(self.seen))  # another session on each connection
            charger = VEHICLES[self.edition].charger(script, self.family, entropy=entropy, pays=pays)
            if visit is not None:
                charger.follow(visit.charger)
            elif self.before is not None:
                charger.forgotten = frozenset({self.before.charger.session_id})
            self.latest = visit = _Visit(self, charger, script.pay, visit or self.before)
            self.seen.append(visit.run())
            self.timed = self.seen[-1] if case.group == "TIM" else self.timed
        verdict, found = judge(case, self.seen)
        return Result(case=case.id, verdict=verdict, found=found)


class _Visit(Meeting[Vehicle, ScriptedCharger]):
    def __init__(self, rig: EvccRig, charger: ScriptedCharger, pay: str, before: "_Visit | None") -> None:
        self.rig = rig
        self.battery = Battery(BatteryConfig(soc=30), at_ms=rig.utc_ms)
        vehicle = rig.kind(
            rig.config,
            Connection(
                battery=self.battery.state,
                entropy=counter(1 << 30),
                **rig.credentials(pay),
                resume=None if before is None or not rig.keeps else before.vehicle.paused,
            ),
        )
        super().__init__(rig, vehicle, charger, charger)

    def _measure(self) -> None:
        now, utc_ms = self.rig.now, self.rig.utc_ms
        self.battery.advance(utc_ms, 0)
        self.vehicle.fact(self.battery.state, now, utc_ms)
        volts = self.charger.output_v
        self.vehicle.fact(ports.PresentVoltage(round(volts * 1000), 0), now, utc_ms)
        self._settle()

    def _sent(self, session: Session, data: bytes) -> bytes:
        return self.rig.garble(data) if session is self.vehicle else data

    def _obey_vehicle(self, command: Command) -> Fact | None:
        match command:
            case ports.CloseContactor() | ports.OpenContactor():
                return ports.ContactorState(closed=isinstance(command, ports.CloseContactor))
            case ports.SetCpState(state=state) if self.rig.measures_pilot:
                self.charger.fact(PilotSeen(state), self.rig.now, self.rig.utc_ms)
        return None
