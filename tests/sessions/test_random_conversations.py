"""Ten thousand conversations that nobody has thought of, each with whatever goes wrong in it (10,000 are `long`).

Services, control modes, means of payment, programs and side streams are drawn, then what happens: time, wishes of both
sides, limits, prices, faults, and frames that are lost, doubled, cut or changed. `Watched` judges every step.
"""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from evcc.session import ports as ev
from evcc.session.settings import (
    AuthorizationConfig,
    DischargeConfig,
    OnBoardChargerConfig,
    ProgramStep,
    ServiceConfig,
    SessionConfig,
)
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import ControlMode, EnergyService, ParkingSpace, SeccConfig, SignedDischargeConfig
from tests.sessions.joined import make_tariff
from tests.sessions.watched import Watched
from v2g.energy.limits import OPERATOR, SITE, Setpoint
from v2g.hardware.faults import FAULTS
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.d20.services import ServiceId
from v2g.iso15118.engine.session import Command, Fact
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

STEPS = st.one_of(
    st.builds(ProgramStep, do=st.just("charge"), energy_wh=st.integers(1, 80), for_s=st.just(300)),
    st.builds(ProgramStep, do=st.just("discharge"), energy_wh=st.integers(1, 80), for_s=st.just(300)),
    st.builds(ProgramStep, do=st.just("wait"), for_s=st.integers(1, 60), standby=st.booleans()),
)
STOPPING = sorted(word for word, kind in FAULTS.items() if kind.stops)
WATTS = st.sampled_from((0, 1, 500, 3_000, 8_000, 22_000))


class Conversations(RuleBasedStateMachine):
    """One conversation, perhaps with pauses; `pki` is set by the test."""

    pki: PkiTree

    def __init__(self) -> None:
        super().__init__()
        self.version = 1
        self.frames = 0
        self.victim: tuple[int, str, float] | None = None
        self.pair: Watched | None = None

    @initialize(
        service=st.sampled_from(tuple(EnergyService)),
        mode=st.sampled_from(("dynamic", "scheduled")),
        paid=st.sampled_from(("PnC", "EIM", "EIM", "EIM without TLS", "PnC refused, then EIM", "nobody decides")),
        program=st.lists(STEPS, min_size=1, max_size=4),
        flags=st.fixed_dictionaries(
            {name: st.booleans() for name in ("confirm_beside", "renegotiate_beside", "parking", "standby", "pause")}
        ),
        signed=st.booleans(),
        phases=st.sampled_from((1, 3)),
        soc=st.sampled_from((20.0, 60.0, 99.0)),
    )
    def begin(
        self,
        service: EnergyService,
        mode: str,
        paid: str,
        program: list[ProgramStep],
        flags: dict[str, bool],
        signed: bool,
        phases: Any,
        soc: float,
    ) -> None:
        ways = (Authorization.PnC,) if paid == "PnC" else (Authorization.EIM,)
        ways = (Authorization.PnC, Authorization.EIM) if paid.startswith("PnC r") else ways
        energy: Any = (service.name,)
        modes: Any = (mode,)
        vehicle = SessionConfig(
            program=tuple(program),
            services=ServiceConfig(
                energy=energy,
                control_mode=modes,
                confirm_beside=flags["confirm_beside"],
                renegotiate_beside=flags["renegotiate_beside"],
                parking="Manual" if flags["parking"] else "none",
                signed_discharge=signed,
            ),
            authorization=AuthorizationConfig(allow_eim=True),
            discharge=DischargeConfig(require_signed=signed),
            on_board_charger=OnBoardChargerConfig(phases=phases),
        )
        charger = SeccConfig(
            services=tuple(EnergyService),
            control_modes=(ControlMode.DYNAMIC, ControlMode.SCHEDULED),
            authorization=ways,
            signed_discharge=SignedDischargeConfig(required=signed),
            parking=ParkingSpace() if flags["parking"] else None,
            standby=flags["standby"],
            pause=flags["pause"],
        )
        self.pair = Watched(
            self.pki, time.time_ns() // 1_000_000, vehicle=vehicle, charger=charger, soc=soc, tls="without" not in paid
        )
        self.paid = paid
        self._wire()
        self.pair.start()

    def _wire(self) -> None:
        pair = self.pair
        assert pair is not None
        pair.wire_to_secc = pair.wire_to_evcc = self._pass
        pair.decide = self._decide

    def _decide(self, command: Command) -> Fact | None:
        pair = self.pair
        assert pair is not None
        if isinstance(command, se.AuthorizeContract) and "refused" in self.paid:
            return se.AuthorizationDecided(command.attempt, AuthorizationStatus.CERTIFICATE_REVOKED)
        if isinstance(command, se.AuthorizeExternally) and self.paid == "nobody decides":
            return se.AuthorizationDecided(command.attempt + 100, AuthorizationStatus.ACCEPTED)  # another's
        return None

    def _pass(self, data: bytes) -> bytes:
        self.frames += 1
        if self.victim is None:
            return data
        (left, harm, position), self.victim = self.victim, None
        if left:
            self.victim = (left - 1, harm, position)
            return data
        cut = int(position * len(data))
        if harm == "flip":
            broken = bytearray(data)
            broken[cut] ^= 1 << (self.frames % 8)
            return bytes(broken)
        return {"drop": b"", "double": data * 2, "cut": data[:cut], "garbage": data + b"\x01\xfe\x80"}[harm]

    @property
    def live(self) -> bool:
        return self.pair is not None and not (self.pair.evcc.closed and self.pair.secc.closed)

    # -- what happens -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.live)
    @rule(steps=st.sampled_from((1, 3, 10, 40)))
    def time_passes(self, steps: int) -> None:
        assert self.pair is not None
        for _ in range(steps):
            if self.live:
                self.pair.advance()

    @precondition(lambda self: self.live)
    @rule(
        fact=st.sampled_from(
            (
                se.RenegotiationRequested(),
                se.MeteringConfirmationRequested(),
                se.EnergyTransferAllowed(frozenset({ServiceId.AC, ServiceId.DC})),
                se.EnergyTransferAllowed(frozenset(ServiceId)),
                se.PauseRequested(),
                se.StopRequested("remote"),
                se.SetpointChanged(None),
                se.SetpointChanged(Setpoint(power_w=-4_000, source="csms")),
                se.SetpointChanged(Setpoint(power_w=2_000, source="csms")),
            )
        )
    )
    def the_charger_wants(self, fact: Fact) -> None:
        assert self.pair is not None
        self.pair.charger_hears(fact)

    @precondition(lambda self: self.live)
    @rule(
        fact=st.sampled_from(
            (
                ev.StopRequested("driver"),
                ev.StopRequested("driver", pause=True),
                ev.StopRequested("driver", reselect=True),
                ev.NeedsChanged(target_soc=95.0),
                ev.NeedsChanged(minimum_soc=10.0, target_soc=30.0),
            )
        )
    )
    def the_driver_wants(self, fact: Fact) -> None:
        assert self.pair is not None
        self.pair.vehicle_hears(fact)

    @precondition(lambda self: self.live)
    @rule(source=st.sampled_from((SITE, OPERATOR)), charge_w=WATTS, discharge_w=WATTS)
    def the_grid_changes(self, source: str, charge_w: int, discharge_w: int) -> None:
        assert self.pair is not None
        self.version += 1
        self.pair.tell_limit(source, charge_w, discharge_w, self.version)

    @precondition(lambda self: self.live)
    @rule(compensation=st.sampled_from((0, 50_000, 250_000)))
    def prices_change(self, compensation: int) -> None:
        assert self.pair is not None
        self.version += 1
        tariff = make_tariff(self.pair.utc_ms, compensation=compensation, version=self.version)
        self.pair.charger_hears(se.GridChanged((), tariff))

    @precondition(lambda self: self.live and self.victim is None)
    @rule(
        after=st.integers(0, 40),
        harm=st.sampled_from(("drop", "double", "cut", "garbage", "flip")),
        position=st.floats(0, 1, exclude_max=True),
    )
    def a_frame_is_harmed(self, after: int, harm: str, position: float) -> None:
        self.victim = (after, harm, position)

    @precondition(lambda self: self.live)
    @rule(word=st.sampled_from(STOPPING))
    def the_charger_breaks(self, word: str) -> None:
        assert self.pair is not None
        self.pair.charger_hears(se.HardwareFault(word))

    @precondition(lambda self: self.live)
    @rule(
        fact=st.sampled_from(
            (
                ev.HardwareFault("isolation_lost"),
                ev.PlugState(connected=False),
                ev.ContactorState(closed=False),
                ev.ContactorState(closed=True),
            )
        )
    )
    def the_vehicle_breaks(self, fact: Fact) -> None:
        assert self.pair is not None
        self.pair.vehicle_hears(fact)

    @precondition(lambda self: self.live)
    @rule(
        fact=st.sampled_from(
            (
                se.CableCheckFinished(passed=False),
                se.PilotChanged(PilotState.A),
                se.PilotChanged(PilotState.B),
                se.PilotChanged(PilotState.E),
                se.ContactorState(closed=True),
            )
        )
    )
    def the_charger_sees(self, fact: Fact) -> None:
        """A contactor that opens under load by itself is the hardware's own fault, and not among these."""
        assert self.pair is not None
        self.pair.charger_hears(fact)

    @precondition(lambda self: self.live)
    @rule(how=st.sampled_from(("cut", "charger killed", "vehicle killed", "link lost")))
    def the_connection_ends(self, how: str) -> None:
        pair = self.pair
        assert pair is not None
        match how:
            case "cut":
                pair.cut = True
            case "charger killed":
                pair.evcc.receive_eof(pair.now, pair.utc_ms)
            case "vehicle killed":
                pair.secc.receive_eof(pair.now, pair.utc_ms)
            case _:
                pair.secc.abort("link_lost", pair.now, pair.utc_ms)
        pair.settle()

    @precondition(lambda self: self.pair is not None and self.pair.evcc_reason == self.pair.secc_reason == "paused")
    @rule()
    def the_vehicle_comes_back(self) -> None:
        assert self.pair is not None
        self.pair.judge_end()
        limits = self.pair.told_limits
        self.pair = Watched(self.pki, 0, charger=self.pair.charger_config, before=self.pair, tls=True)
        self._wire()
        self.pair.start()
        for source, (charge_w, discharge_w) in limits.items():
            self.version += 1
            self.pair.tell_limit(source, charge_w, discharge_w, self.version)

    @rule()
    def nothing_more_happens(self) -> None:
        """A conversation may also be left alone."""

    def teardown(self) -> None:
        if self.pair is not None:
            self.pair.finish()
            if self.paid == "nobody decides":
                assert self.pair.imported_mwh() == self.pair.exported_mwh() == 0
                assert not self.pair.allowed
            if self.pair.secc.family is Family.WPT:
                assert self.pair.exported_mwh() == 0


def run(pki: PkiTree, examples: int) -> None:
    Conversations.pki = pki
    run_state_machine_as_test(
        Conversations,
        settings=settings(
            max_examples=examples,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a shrunk one takes minutes, and says little more
            report_multiple_bugs=False,
        ),
    )


def test_whatever_happens_power_is_allowed_within_limits_booked_and_ends(pki: PkiTree) -> None:
    run(pki, 25)


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))  # so that several processes share them
def test_ten_thousand_conversations(part: int, pki: PkiTree) -> None:
    run(pki, 1_000)
