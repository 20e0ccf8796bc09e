"""A vehicle of ours and the reference charger joined in memory: the clock in the hand, hardware that obeys at once."""

import time
from collections.abc import Callable

from evcc.core import ports
from evcc.core.battery import Battery, BatteryConfig
from evcc.core.session import VehicleSession
from evcc.core.settings import AuthorizationConfig, DischargeConfig, ProgramStep, ServiceConfig, SessionConfig
from evcc.core.world import Contract
from pki_tools.tree import PkiTree
from tests.conformance.rig import WIRE_S, counter
from tests.trees import known
from v2g.conformance.case import Case, Result, Seen, judge
from v2g.conformance.charger import PilotSeen, ReferenceCharger
from v2g.iso15118.charts import Family
from v2g.iso15118.messages.common_messages import Authorization
from v2g.iso15118.session import Close, Command, Fact, Send, Session

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
        kind: type[VehicleSession] = VehicleSession,
    ) -> None:
        self.pki, self.family, self.kind = known(pki), family, kind
        self.config = config or settings(family)
        self.now, self.utc_ms = 100.0, time.time_ns() // 1_000_000
        self.seen: list[Seen] = []
        self.timed: Seen | None = None

    def run(self, case: Case) -> Result:
        """Play a case and judge it; `seen` is what was seen."""
        self.seen = []
        for visit in case.visits:
            if case.group == "TIM" and self.timed is not None:
                self.seen.append(self.timed)
                continue
            pays = {"EIM": (Authorization.EIM,), "PnC": (Authorization.PnC,), "": (Authorization.EIM,)}[visit.pay]
            charger = ReferenceCharger(visit, self.family, entropy=counter(), pays=pays)
            self.seen.append(_Meeting(self, charger).run())
            self.timed = self.seen[-1] if case.group == "TIM" else self.timed
        verdict, found = judge(case, self.seen)
        return Result(case=case.id, verdict=verdict, found=found)


class _Meeting:
    def __init__(self, rig: EvccRig, charger: ReferenceCharger) -> None:
        self.rig, self.charger = rig, charger
        self.battery = Battery(BatteryConfig(soc=30), at_ms=rig.utc_ms)
        self.vehicle = rig.kind(
            rig.config,
            battery=self.battery.state,
            secc_certificate=rig.pki.chain("secc")[0],
            contracts=(Contract(rig.pki.chain("contract"), rig.pki.key("contract")),),
            entropy=counter(1 << 30),
        )
        self.under_way: list[tuple[float, Session, bytes | None]] = []

    def run(self) -> Seen:
        rig = self.rig
        self.charger.start(rig.now, rig.utc_ms)
        self.vehicle.start(rig.now, rig.utc_ms)
        self._settle()
        for _ in range(100_000):
            if self.charger.closed and (self.vehicle.closed or not self.under_way):
                return self.charger.seen
            ends = [at for at, _, _ in self.under_way[:1]]
            ends += [at for each in (self.vehicle, self.charger) if (at := each.deadline()) is not None]
            assert ends, "nobody waits for anything"
            self._move(max(rig.now, min(ends)))
        raise AssertionError("no end")

    def _move(self, now: float) -> None:
        rig = self.rig
        rig.utc_ms += round((now - rig.now) * 1000)
        rig.now = now
        self.vehicle.fact(self.battery.state, now, rig.utc_ms)
        volts = self.charger._responses.voltage
        self.vehicle.fact(ports.PresentVoltage(round(volts * 1000), 0), now, rig.utc_ms)
        self._settle()
        while self.under_way and self.under_way[0][0] <= now:
            _, to, data = self.under_way.pop(0)
            if data is None:
                to.receive_eof(now, rig.utc_ms)
            else:
                to.receive(data, now, rig.utc_ms)
            self._settle()
        for each in (self.charger, self.vehicle):
            each.tick(now, rig.utc_ms)
        self._settle()

    def _settle(self) -> None:
        busy = True
        while busy:
            busy = self._serve(self.vehicle, self.charger, self._obey)
            busy |= self._serve(self.charger, self.vehicle, lambda command: None)

    def _serve(self, session: Session, peer: Session, obey: Callable[[Command], Fact | None]) -> bool:
        rig, actions = self.rig, session.actions()
        for action in actions:
            match action:
                case Send(data=data):
                    self._post(peer, data)
                case Close():
                    self._post(peer, None)
                case Command():
                    fact = obey(action)
                    if fact is not None:
                        session.fact(fact, rig.now, rig.utc_ms)
        return bool(actions)

    def _post(self, to: Session, data: bytes | None) -> None:
        self.under_way.append((self.rig.now + WIRE_S, to, data))

    def _obey(self, command: Command) -> Fact | None:
        match command:
            case ports.CloseContactor() | ports.OpenContactor():
                return ports.ContactorState(closed=isinstance(command, ports.CloseContactor))
            case ports.SetCpState(state=state):
                self.charger.fact(PilotSeen(state), self.rig.now, self.rig.utc_ms)
        return None
