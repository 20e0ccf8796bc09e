"""A charger of ours and the reference vehicle joined in memory: the clock in the hand, hardware that obeys at once."""

import functools
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.config import SeccConfig
from secc.session.d20.session import SeccSession
from secc.session.identity import Identity, SessionTrust
from secc.session.ports import Paused
from secc.session.session import ChargerSession
from tests.charger_session import charger_session
from tests.iso15118.d20.contracts import drawn, own_contract, service
from tests.testkit.meeting import WIRE_S, Meeting
from tests.trees import known
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2 import provisioning as provisioning_2
from v2g.iso15118.d20 import provisioning as provisioning_20
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.installation import SCHEMA_VERSION
from v2g.iso15118.engine.contracts import Answer, Contract
from v2g.iso15118.engine.session import Command, Fact, Session
from v2g_cli.conform.kit import Means, means_of_tree, payers
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.security.certificates import ContractAnswer
from v2g_testkit.cases.case import Case, Result, Seen, Verdict, judge
from v2g_testkit.cases.declaration import ChargerDeclaration
from v2g_testkit.cases.editions import CHARGERS, Edition
from v2g_testkit.cases.known import Kit
from v2g_testkit.cases.scripted_vehicle import EndAtCharger, PilotShown, ScriptedVehicle, ShowPilot

CABLE_CHECK_S = 1.0
"""Long enough for an Ongoing."""


def counter(start: int = 1) -> Callable[[int], bytes]:
    numbers = itertools.count(start)
    return lambda n: next(numbers).to_bytes(n, "big")


@functools.cache
def _means(folder: Path) -> Means:
    return means_of_tree(PkiTree(folder), datetime.now(UTC))


def kit_of(pki: PkiTree, pay: str = "EIM") -> Kit:
    """Return what a tester has: external identification costs no signatures."""
    means = _means(pki.directory)
    return Kit(
        pay=pay,
        contracts=payers(means.contracts),
        provisioning=payers(means.provisioning),
        roots=means.anchors,
        stops=True,
        sets_pilot=True,
    )


class BackEnd:
    """Issues `contracts` after `seconds`, by the edition of the request; None: it does not answer."""

    def __init__(self, pki: PkiTree, contracts: tuple[Contract, ...] | None = None) -> None:
        self.pki, self.contracts = pki, (own_contract(pki),) if contracts is None else contracts
        self.seconds: float | None = 2.0

    def answer(self, command: ports.RequestContract, utc_ms: int) -> ports.ContractAnswered:
        old = command.request.schema != SCHEMA_VERSION
        options: dict[str, Any] = {"oem_sub_cas": self.pki.chain("provisioning")[1:]} if old else {}
        issuer: Any = (provisioning_2 if old else provisioning_20).ProvisioningService(
            service(self.pki), oem_roots=self.pki.anchors("oem"), mo_roots=self.pki.anchors("mo"), **options
        )
        asked = issuer.read(command.request.exi, utc_ms)
        found = (
            asked
            if isinstance(asked, Answer)
            else issuer.answer(asked, self.contracts, utc_ms, drawn(), most_bytes=20_000)
        )
        return ports.ContractAnswered(command.attempt, ContractAnswer("answered", found.exi))


class Rig:
    """Chargers of one kind, a new one for each connection, and vehicles that test them."""

    def __init__(
        self,
        pki: PkiTree,
        family: Family,
        *,
        config: SeccConfig | None = None,
        kind: type[ChargerSession] = SeccSession,
        edition: Edition = Edition.ISO20,
        tls: bool = True,
        kit: Kit | None = None,
        identities: dict[str, bytes] | None = None,
        declared: ChargerDeclaration | None = None,
    ) -> None:
        self.pki, self.family = known(pki), family
        self.config = config or SeccConfig()
        self.kind, self.edition, self.tls = kind, CHARGERS[edition], tls
        self.kit = kit or kit_of(self.pki)
        self.identities = identities or {"vehicle": self.pki.chain("vehicle")[0], "other-vehicle": b"another"}
        self.declared = declared or ChargerDeclaration()
        self.kit = self.declared.on(self.kit)
        self.now, self.utc_ms = 100.0, time.time_ns() // 1_000_000
        self.entropy = counter(1 << 40)
        self.paused: Paused | None = None
        self.back_end = BackEnd(self.pki)
        self.authorization_s = 0.0
        """How long the back end needs to authorise."""
        self.delay: Callable[[bytes], float] = lambda data: WIRE_S
        self.garble: Callable[[bytes], bytes] = lambda data: data
        """What the vehicle gets for a frame of the charger."""
        self.most_mv = 1_000_000
        """What the charger's pre-charge comes to at most, mV."""
        self.seen: list[Seen] = []
        self.timed: Seen | None = None

    def run(self, case: Case) -> Result:
        """Play a case and judge it; `seen` is what was seen."""
        memory, seen = self.edition.known(self.family), []
        self.paused = None
        if absent := case.does_not_apply(self.declared, tls=self.tls):
            self.seen = [Seen(absent=absent)]
            return Result(case=case.id, verdict=Verdict.NOT_APPLICABLE, found=absent)
        if case.group == "TIM":  # one session, judged in many ways
            if self.timed is None:
                vehicle = self.edition.vehicle(case.scripts[0], self.kit, memory, entropy=counter())
                self.timed = Connection(self, vehicle, self.charger(self.identities["vehicle"])).run()
            verdict, found = judge(case.for_device(self.declared), [self.timed])
            self.seen = [self.timed]
            return Result(case=case.id, verdict=verdict, found=found)
        for script in case.scripts:
            vehicle = self.edition.vehicle(script, self.kit, memory, entropy=counter())
            charger = self.charger(self.identities[script.identity])
            seen.append(Connection(self, vehicle, charger).run())
            if seen[-1].absent or not seen[-1].reached:
                break
        self.seen = seen
        verdict, found = judge(case.for_device(self.declared), seen)
        return Result(case=case.id, verdict=verdict, found=found)

    def charger(self, certificate: bytes) -> ChargerSession:
        pki = self.pki
        return charger_session(
            self.config,
            kind=self.kind,
            trust=SessionTrust(
                pki.anchors("v2g"), pki.anchors("mo"), pki.key("secc"), pki.chain("secc"), oem_roots=pki.anchors("oem")
            ),
            identity=Identity("CS-1", "METER-0001", pki.chain("meter")[0]),
            entropy=self.entropy,
            limits=(
                Limit(source=SITE, charge_w=40_000, discharge_w=15_000),
                Limit(source=OPERATOR, charge_w=40_000, discharge_w=10_000, version=1),
            ),
            meter=ports.MeterRead(self.utc_ms, 5_000_000, 2_000_000),
            pilot=PilotState.B,
            vehicle_certificate=certificate,
            paused=self.paused,
            tls=self.tls,
            can_install=True,
        )


class Connection(Meeting[ScriptedVehicle, ChargerSession]):
    """One vehicle that tests one charger."""

    def __init__(self, rig: Rig, vehicle: ScriptedVehicle, charger: ChargerSession) -> None:
        super().__init__(rig, vehicle, charger, vehicle)
        self.rig = rig
        self._device = ports.Device()
        self._watts, self._counted_mwh, self._counted_at = 0, 0.0, rig.now

    def _delay(self, session: Session, data: bytes) -> float:
        return self.rig.delay(data) if session is self.charger else WIRE_S

    def _sent(self, session: Session, data: bytes) -> bytes:
        return self.rig.garble(data) if session is self.charger else data

    def _draw(self, watts: int) -> None:
        """Let this flow from now on, in whatever direction."""
        now = self.rig.now
        self._counted_mwh += self._watts * (now - self._counted_at) / 3.6
        self._watts, self._counted_at = watts, now

    def _read(self) -> Fact:
        self._draw(self._watts)
        return ports.MeterRead(self.rig.utc_ms, 5_000_000 + round(self._counted_mwh), 2_000_000)

    def _measure(self) -> None:
        self.charger.fact(self._read(), self.rig.now, self.rig.utc_ms)

    def _obey_vehicle(self, command: Command) -> Fact | None:
        if isinstance(command, EndAtCharger):
            self.charger.fact(ports.StopRequested("remote"), self.rig.now, self.rig.utc_ms)
            return None
        assert isinstance(command, ShowPilot)
        self.charger.fact(ports.PilotChanged(command.state), self.rig.now, self.rig.utc_ms)
        return PilotShown()

    def _obey_charger(self, command: Command) -> Fact | None:
        rig = self.rig
        match command:
            case ports.AuthorizeContract() | ports.AuthorizeExternally():
                decided = ports.AuthorizationDecided(command.attempt, AuthorizationStatus.ACCEPTED)
                if not rig.authorization_s:
                    return decided
                self._post(rig.authorization_s, self.charger, decided)
            case ports.StartCableCheck():
                self._post(CABLE_CHECK_S, self.charger, ports.CableCheckFinished(passed=True))
            case ports.StartPreCharge(voltage_mv=voltage_mv):
                return ports.Measured(min(voltage_mv, self.rig.most_mv), 0)
            case ports.SetOutput():
                volts, milliamps = min(command.voltage_mv, 400_000), max(0, min(command.current_ma, 5_000))
                milliamps = min(milliamps, command.charge_w * 1_000_000 // volts) if volts else 0
                self._draw(volts * milliamps // 1_000_000)
                return ports.Measured(volts, milliamps)
            case ports.SetAcOutput(charge_w=charge_w, power_w=power_w):
                self._draw(max(0, charge_w if power_w is None else min(charge_w, power_w)))
            case ports.LowerOutput(output=output):
                return self._obey_charger(output)
            case ports.CloseContactors() | ports.OpenContactors() | ports.EmergencyOff():
                closed = isinstance(command, ports.CloseContactors)
                self._draw(self._watts if closed else 0)
                if not closed:
                    self._post(WIRE_S, self.charger, ports.Measured(0, 0))
                return ports.ContactorState(closed=closed)
            case ports.RecordMeter() | ports.CloseJournal():
                return self._read()
            case ports.RequestContract():
                if rig.back_end.seconds is not None:
                    self._post(rig.back_end.seconds, self.charger, rig.back_end.answer(command, rig.utc_ms))
            case ports.SaveSession(paused=paused):
                rig.paused = paused
            case _:
                return self._obey_device(command)
        return None

    def _obey_device(self, command: Command) -> Fact | None:
        changes: dict[str, Any] = {}
        match command:
            case ports.StartPositioning():
                changes = {"in_place": True}
            case ports.CheckAlignment(current_ma=current_ma):
                changes = {"aligned": True, "coil_ma": current_ma, "alignment_w": current_ma * 3 // 1000}
            case ports.MoveDevice(to_vehicle=there):
                changes = {
                    "mechanical": "EndPosition" if there else "Home",
                    "connected": there,
                    "insulation": "Safe",
                }
            case ports.SetWptOutput(power_w=power_w):
                self._draw(power_w)
                return ports.Measured(0, 0, power_w)
        if not changes:
            return None
        self._device = msgspec.structs.replace(self._device, **changes)
        return ports.DeviceChanged(self._device)
