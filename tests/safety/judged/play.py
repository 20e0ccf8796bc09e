"""Plays a list of steps to a charger on the rig, before the judge of `rule`. Steps are JSON, so that a
list that fails can be printed, made smaller, and run again: `python -m tests.safety.judged.play KIND '[[...], ...]'`.
"""

import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from pki_tools.tree import PkiTree, make_pki
from secc.hardware.config import Kind
from secc.hardware.simulated import SimulatedEvseConfig
from secc.session import ports
from secc.session.config import ControlMode, EnergyService, SeccConfig
from tests import patient
from tests.safety.judged.rig import BATTERY_MV, Rig, rig
from tests.safety.judged.rule import Judge
from tests.safety.judged.steps import Chances, Step, goes_on, reported, script, walk
from tests.secc.session.bench import AC_WAYS, ACDP_WAYS, REQUESTS, WAYS, WPT_WAYS, number
from tests.virtual_time import in_simulated_time
from v2g.asn1.discharge import signed_content
from v2g.energy.limits import GridResponse, Limit, Setpoint
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType

KINDS: Final[tuple[Kind, ...]] = ("dc", "ac", "wpt", "acdp")
LOOK_S: Final = 0.05

ALL_WAYS: Final[Mapping[str, Mapping[State, tuple[str, ...]]]] = {
    "dc": WAYS,
    "ac": AC_WAYS,
    "wpt": WPT_WAYS,
    "acdp": ACDP_WAYS,
}
_LOOP: Final = {
    "dc": State.DC_CHARGE_LOOP,
    "acdp": State.DC_CHARGE_LOOP,
    "ac": State.AC_CHARGE_LOOP,
    "wpt": State.WPT_CHARGE_LOOP,
}
FAULTS: Final[Mapping[str, tuple[str, float]]] = {
    "estop": ("emergency_stop", 0),
    "isolation": ("isolation_low", 1_000),
    "over_temperature": ("over_temperature", 120),
    "sensor_lost": ("temperature_lost", 0),
    "stage_trip": ("stage_tripped", 0),
    "weld": ("", 0),
    "stuck_closed": ("", 0),
    "drop": ("", 0),
    "no_close": ("", 0),
    "isolation_monitor": ("isolation_lost", 0),
    "stage_silent": ("stage_lost", 0),
    "meter_silent": ("meter_lost", 0),
}
"""What can be made to go wrong -> the fault that it is, if it is one at once, and its value."""

DC_ONLY: Final = ("isolation", "isolation_monitor", "stage_trip", "stage_silent")
"""What there is in direct current only."""

SENSED_S: Final = 1.5
"""Until a fault of the hardware has been seen: looks at sensors, repeats, and what is believed of them."""

SIDE: Final = PayloadType.SCHEDULE_RENEGOTIATION
_RENEGOTIATED: Final = ("ScheduleExchangeReq", "PowerDeliveryReq")
_PROGRESS: Final = ("Start", "Stop", "Standby", "ScheduleRenegotiation")


class Play(Rig):
    """A rig whose judge observes everything."""

    judge: Judge
    looking: "asyncio.Task[None]"
    renegotiating = "ScheduleExchangeReq"
    requests: ClassVar[Collection[str]] = REQUESTS
    says_phases = 3
    """How many phases the vehicle says that it uses, which may be others than it does."""

    @property
    def variants(self) -> "Mapping[str, Mapping[str, Variant]]":
        """See VARIANTS."""
        return VARIANTS

    def watch(self) -> None:
        """Let the judge look from now on."""
        self.judge = self.judging()
        for each in self.limits:
            self.judge.limit(each)
        self._answers = 0
        self._pilot = PilotState.B
        self.looking = self.loop.create_task(self._look())

    def judging(self) -> Judge:
        """Return the judge of this charger."""
        return Judge(mains=self.kind == "ac", alignment_w=self.config.wpt.alignment_power_w)

    async def _look(self) -> None:
        while True:
            self._seen()
            await asyncio.sleep(LOOK_S)

    def _seen(self) -> None:
        judge, car = self.judge, self.car
        for each in self.responses[self._answers :]:
            judge.answered(each)
        self._answers = len(self.responses)
        if self.running.done():
            judge.over()
        voltage_mv = 0
        if car.dc is not None and car.dc.charger is not None:
            voltage_mv = car.dc.charger.voltage_mv
        stuck = "weld" in self.faults or "stuck_closed" in self.faults
        judge.measured(
            self.now, closed=car.live, voltage_mv=voltage_mv, power_w=car.power_w, line_ma=car.line_ma, stuck=stuck
        )

    def post_bytes(self, request: Any, stream: int | None = None) -> None:
        """Say it, and let the judge hear it."""
        self._seen()
        if not self.running.done():
            self.judge.said(request, int(stream or 0), self.now)
        super().post_bytes(request, stream)

    def tell(self, *facts: Any) -> None:
        """Tell it, and let the judge hear it."""
        if hasattr(self, "judge"):
            for fact in facts:
                self._hear(fact)
        super().tell(*facts)

    def _hear(self, fact: Any) -> None:
        match fact:
            case ports.StopRequested():
                self.judge.stop(self.now)
            case ports.GridChanged(limits=limits):
                for limit in limits:
                    self.judge.limit(limit)
                    self.limits = (*(each for each in self.limits if each.source != limit.source), limit)
            case ports.GridResponseChanged(response=response):
                self.response = response  # the next session begins with it, too
                self.judge.grid(response.ceiling_w, response.floor_w, trip=response.trip)
            case ports.PilotChanged(state=state):
                self.judge.pilot(ready=state.ready)

    def ask(self, name: str, **changes: Any) -> Any:
        """Return a request, of a vehicle that names as many phases as it says."""
        return _on_phases(super().ask(name, **changes), self.says_phases)

    def _PowerDeliveryReq(self) -> dict[str, Any]:
        profile = self.profile(1, 5_000) if self.scheduled else None
        return {**super()._PowerDeliveryReq(), "ev_power_profile": profile}

    # -- steps

    async def do(self, step: Step) -> None:
        """Do a step; one that has no meaning here does nothing."""
        verb, *rest = step
        await getattr(self, f"do_{verb}")(*rest)
        goes_on(self.looking)
        assert not self.judge.wrong, self.judge.wrong

    async def do_to(self, state: str) -> None:
        self._agreed()
        await self.to(State(state))

    def _agreed(self) -> None:
        service, _, signed = self.selection
        bidirectional = service in (5, 6)
        self.judge.services(bidirectional=bidirectional, signed=signed)

    async def do_wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def do_loop(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end and not self.running.done():
            response = await self.say(self.loop_request, within=1.0)
            self._follow(response)
            await asyncio.sleep(0.1)

    async def do_in_turns(self, watts: int, on_s: float, off_s: float, times: int) -> None:
        """Let what flows obey nobody and follow again in turns, with loops all the while."""
        self.judge.strays = True
        for astray, seconds in ((True, on_s), (False, off_s)) * times:
            self.faults.set("stage_strays", active=astray, value=watts * 1000 / BATTERY_MV)
            end = self.now + seconds
            while self.now < end and not self.running.done():
                response = await self.say(self.loop_request, within=1.0)
                if astray and self.car.ac is not None:
                    self.car.ac.drive(watts)
                else:
                    self._follow(response)
                await asyncio.sleep(min(0.1, max(0.01, end - self.now)))
        self.judge.strays = False

    async def do_onward(self) -> None:
        """Go on by the book, in another session when this one is over."""
        self._agreed()
        if self.running.done():
            await self.do_again()
            return
        state, way = self.session.state, self.ways[_LOOP[self.kind]]
        nexts = {each: way[len(known)] for each, known in self.ways.items() if known == way[: len(known)] != way}
        name = nexts.get(state, self.loop_request)
        if state in (State.STANDBY, State.POWER_DELIVERY_RENEGOTIATED):
            name = "PowerDeliveryReq"
        elif state in (State.SCHEDULE_RENEGOTIATION, State.STANDBY_RENEGOTIATION):
            name = self.renegotiating
        await self._by_the_book(name)

    async def do_charge(self) -> None:
        """Go on until energy flows, or may."""
        for _ in range(20):
            if not self.running.done() and self.session.state is _LOOP[self.kind]:
                break
            await self.do_onward()

    async def _by_the_book(self, name: str) -> None:
        if name in ("DC_CableCheckReq", "CableCheckReq", "PowerDeliveryReq") and self.kind != "wpt":
            self._show(PilotState.C)
            await asyncio.sleep(0.05)
        if name == "PowerDeliveryReq":
            self.car.switch(closed=True)
        for _ in range(30):
            response = await self.say(name)
            if not self.goes_on(response):
                break
            await asyncio.sleep(0.05)
        if name == "AuthorizationSetupReq":
            self.setup = response
        if name == "ServiceDetailReq" and self.selection[2]:
            await self.say(name, service_id=0xF000)
        self._follow(response)

    def goes_on(self, response: Any) -> bool:
        """Return whether the vehicle has to ask once more."""
        return getattr(response, "evse_processing", None) is Processing.Ongoing

    def _show(self, state: PilotState) -> None:
        if self.car.pilot.plugged:
            self.car.pilot.set_state(state)

    async def do_say(self, name: str, variant: str = "") -> None:
        changes, stream = self.variants.get(name, {}).get(variant, lambda _: ({}, None))(self)
        response = await self.say(name, within=1.0, stream=stream, **changes)
        self._follow(response)

    async def do_fit(self, number: int) -> None:
        """Say one of the requests that are in order."""
        if self.running.done():
            return
        chart = self.session.chart
        fitting = [
            (name, variant)
            for _, name, variant in said(type(self).requests, self.variants)
            if name in chart.get(self.session.state, {})
            and not (name == "SessionStopReq" and number % 3)
            and not (variant in ("Stop", "beside, Stop") and number % 2)
        ]
        if fitting:
            name, variant = fitting[number % len(fitting)]
            if name == "PowerDeliveryReq":
                self.car.switch(closed=True)
            await self.do_say(name, variant)

    async def do_pilot(self, letter: str) -> None:
        self._show(PilotState(letter))

    async def do_unplug(self) -> None:
        if self.kind in ("dc", "ac"):
            self.car.pilot.unplug()

    async def do_switch(self, closed: bool) -> None:
        self.car.switch(closed=closed)

    async def do_limit(self, source: str, charge_w: int, discharge_w: int) -> None:
        limit = Limit(source=source, charge_w=charge_w, discharge_w=discharge_w, version=self._version())
        self.tell(ports.GridChanged((limit,)))

    def _version(self) -> int:
        self._versions = getattr(self, "_versions", 1) + 1
        return self._versions

    async def do_line(self, source: str, charge_ma: int | None, discharge_ma: int | None) -> None:
        """A limit in A of each conductor, with all the power that conductors allow."""
        most = Limit(source=source, charge_w=40_000, discharge_w=10_000, version=self._version())
        self.tell(ports.GridChanged((replace(most, charge_ma=charge_ma, discharge_ma=discharge_ma),)))

    async def do_phases(self, drawn: int, says: int) -> None:
        """The first step only: the phases of the vehicle, with which it is made, and what it says of them."""
        self.says_phases = says

    async def do_swing(self, low_w: int, high_s: float, low_s: float, times: int, strays_w: int | None = None) -> None:
        """Let a bound go up and down again and again, with loops, and what flows follow it or stay where it is."""
        self.judge.strays = strays_w is not None
        if strays_w is not None:
            self.faults.set("stage_strays", active=True, value=strays_w * 1000 / BATTERY_MV)
        for watts, seconds in ((40_000, high_s), (low_w, low_s)) * times:
            await self.do_limit("operator", watts, 10_000)
            end = self.now + seconds
            while self.now < end and not self.running.done():
                response = await self.say(self.loop_request, within=1.0)
                if strays_w is not None and self.car.ac is not None:
                    self.car.ac.drive(strays_w)
                else:
                    self._follow(response)
                await asyncio.sleep(min(0.1, max(0.01, end - self.now)))
        self.faults.set("stage_strays", active=False)
        self.judge.strays = False

    async def do_beside(self, how: str) -> None:
        """Agree on other parameters on the side stream of a renegotiation, while power flows."""
        way = self.ways[_LOOP[self.kind]]
        for name in (*(each for each in way if each.endswith("ChargeParameterDiscoveryReq")), *_RENEGOTIATED):
            await self.do_say(name, f"beside{how}" if name not in _RENEGOTIATED else "beside")

    async def do_setpoint(self, power_w: int | None) -> None:
        wish = None if power_w is None else Setpoint(power_w=power_w, source="csms", version=self._version())
        self.tell(ports.SetpointChanged(wish))

    async def do_grid(self, ceiling_w: int | None, floor_w: int | None, delta_w: int = 0, trip: bool = False) -> None:
        self.tell(ports.GridResponseChanged(GridResponse(delta_w, floor_w, ceiling_w, trip=trip)))

    async def do_tariff(self) -> None:
        self.tariff = replace(self.tariff, version=self._version())
        self.tell(ports.GridChanged((), self.tariff))

    async def do_fact(self, name: str) -> None:
        self.tell(SIMPLE[name]())

    async def do_stop(self, reason: str = "deauthorized") -> None:
        self.tell(ports.StopRequested(reason))

    async def do_sign(self, power_w: int) -> None:
        """Accept the newest offer, and sign for so much, where that was agreed."""
        if not self.signed_frames or not self.selection[2] or self.running.done():
            return
        vehicle = self.discharge or self.open_discharge()
        answered = vehicle.on_message(self.signed_frames[-1], self.utc_ms)
        try:
            payload = vehicle.command(power_w, self.utc_ms)
        except Exception:  # noqa: BLE001 - the vehicle's own rules forbid it
            return
        until_ms = signed_content(payload).valid_until_ms  # type: ignore[union-attr]
        self.judge.signed(power_w, self.now + (until_ms - self.utc_ms) / 1000)
        for each in (getattr(answered, "reply", None), payload):
            if each is not None:
                self.pipe.incoming.put_nowait(_framed(each))
                await asyncio.sleep(0.01)

    async def do_disk(self, seconds: float) -> None:
        self.disk_s = seconds

    async def do_abort(self) -> None:
        self.runner.abort("link_lost")

    async def do_fault(self, name: str, active: bool = True) -> None:
        word, value = FAULTS[name]
        word = word if self.kind in ("dc", "acdp") or name not in DC_ONLY else ""
        self.faults.set(name, active=active, value=value)
        if word and active:
            self.loop.call_later(SENSED_S, lambda: name in self.faults and self.judge.fault(word, active=True))
        elif word:
            self.judge.fault(word, active=False)

    async def do_again(self) -> None:
        """Another session, by the same vehicle, when the last one is over; at once where it lives on."""
        if not self.running.done():
            self.runner.abort("gone")
        await asyncio.wait([self.running], timeout=10)
        await asyncio.sleep(0.3)
        self._unsubscribe()
        if self.kind in ("dc", "ac"):
            self.car.pilot.unplug()
            self.car.switch(closed=False)
            await asyncio.sleep(0.2)
            self.car.pilot.plug()
            await asyncio.sleep(0.2)
        self._seen()
        self.judge.begin()
        self.setup, self.discharge, self.signed_frames = None, None, []
        self.disk_s = 0.0
        self.framer = type(self.framer)()
        self._answers = len(self.responses)
        self.connect()
        self._agreed()


def _framed(payload: bytes) -> bytes:
    from v2g.iso15118.engine.v2gtp import frame

    return frame(PayloadType.SIGNED_DISCHARGE, payload)


SIMPLE: Final[Mapping[str, Callable[[], Any]]] = {
    "PauseRequested": ports.PauseRequested,
    "RenegotiationRequested": ports.RenegotiationRequested,
    "MeteringConfirmationRequested": ports.MeteringConfirmationRequested,
    "HardwareFault": lambda: ports.HardwareFault("stage_tripped"),
}


def _on_phases(request: Any, phases: int) -> Any:
    """Return a request with alternating current that names so many phases, with the same power on all together."""
    for field in ("ac_cpd_req_energy_transfer_mode", "cl_req_control_mode"):
        mode = getattr(request, field, None)
        names = [each for each in dir(mode) if each.endswith("_l2") and getattr(mode, each) is not None]
        if phases == 3 or not names:
            continue
        changes: dict[str, Any] = {}
        for name in (each.removesuffix("_l2") for each in names):
            value = getattr(mode, name)
            part = number(value.value * 10**value.exponent * 3 // phases)
            changes |= {name: part, f"{name}_l2": part if phases == 2 else None, f"{name}_l3": None}
        request = replace(request, **{field: replace(mode, **changes)})
    return request


Variant = Callable[[Rig], tuple[dict[str, Any], int | None]]


def _changed(stream: int | None = None, **changes: Any) -> Variant:
    return lambda _: (changes, stream)


def _mode(family: str, **changes: Any) -> Variant:
    def made(found: Rig) -> tuple[dict[str, Any], int | None]:
        mode = found.ac_loop_mode() if family == "AC" else found.loop_mode()
        fit = {name: value for name, value in changes.items() if hasattr(mode, name)}
        return {"cl_req_control_mode": replace(mode, **fit)}, None

    return made


def _parameters(field: str, factor: float, **changes: int) -> Variant:
    """Return other parameters on the side stream: maxima times a factor, and these numbers."""

    def made(found: Rig) -> tuple[dict[str, Any], int | None]:
        mode = getattr(found.ask(field[:2].upper() + "_ChargeParameterDiscoveryReq"), field)
        known = {each: getattr(mode, each) for each in dir(mode) if each.startswith("ev_maximum")}
        scaled = {
            each: number(value.value * 10.0**value.exponent * factor // 1)
            for each, value in known.items()
            if value is not None
        }
        fit = {each: number(value) for each, value in changes.items() if each in known}
        return {field: replace(mode, **{**scaled, **fit})}, SIDE

    return made


def _receivable(factor: float) -> Variant:
    """Return another power that a secondary device bears, on the side stream."""

    def made(found: Rig) -> tuple[dict[str, Any], int | None]:
        most = found.ask("WPT_ChargeParameterDiscoveryReq").evpc_max_receivable_power
        return {"evpc_max_receivable_power": number(most.value * 10.0**most.exponent * factor // 1)}, SIDE

    return made


_LOOPS: Final[dict[str, dict[str, Any]]] = {
    "low power": {"ev_maximum_charge_power": number(2_000)},
    "no power": {"ev_maximum_charge_power": number(0), "ev_maximum_charge_power_l2": number(0)},
    "low voltage": {"ev_maximum_voltage": number(380)},
    "full": {"ev_maximum_energy_request": number(0), "ev_target_energy_request": number(0)},
    "lacks energy": {"ev_minimum_energy_request": number(5_000)},
    "much power": {each: number(150_000) for each in ("ev_maximum_charge_power", "ev_maximum_charge_power_l2")},
    "wants more": {"ev_target_current": number(60), "ev_target_voltage": number(450)},
    "wants back": {"ev_target_current": number(-30), "ev_target_voltage": number(380)},
}

VARIANTS: Final[Mapping[str, Mapping[str, Variant]]] = {
    "PowerDeliveryReq": {
        **{each: _changed(charge_progress=cm.ChargeProgress[each]) for each in _PROGRESS},
        "Start, Ongoing": _changed(charge_progress=cm.ChargeProgress.Start, ev_processing=Processing.Ongoing),
        "beside": _changed(SIDE),
        "beside, Stop": _changed(SIDE, charge_progress=cm.ChargeProgress.Stop),
    },
    "SessionStopReq": {
        each: _changed(charging_session=cm.ChargingSession[each])
        for each in ("Terminate", "Pause", "ServiceRenegotiation")
    },
    "DC_PreChargeReq": {
        "Finished": _changed(),
        "Ongoing": _changed(ev_processing=Processing.Ongoing),
        "to 0 V": _changed(ev_target_voltage=number(0)),
        "to 300 V": _changed(ev_target_voltage=number(300)),
        "Ongoing, to 900 V": _changed(ev_processing=Processing.Ongoing, ev_target_voltage=number(900)),
    },
    "DC_ChargeLoopReq": {"": _changed(), **{each: _mode("DC", **changes) for each, changes in _LOOPS.items()}},
    "AC_ChargeLoopReq": {
        "": _changed(),
        **{each: _mode("AC", **changes) for each, changes in _LOOPS.items()},
        "low power": _mode("AC", **{f"ev_maximum_charge_power{each}": number(650) for each in ("", "_l2", "_l3")}),
    },
    "WPT_ChargeLoopReq": {
        "": _changed(),
        "much": _changed(evpc_power_request=number(20_000)),
        "low power": _changed(evpc_power_request=number(2_000)),
    },
    "WPT_AlignmentCheckReq": {"": _changed(), "much": _changed(target_coil_current=number(75))},
    "ScheduleExchangeReq": {"": _changed(), "beside": _changed(SIDE)},
    **{
        f"{kind}_ChargeParameterDiscoveryReq": {
            "": _changed(),
            "beside": _changed(SIDE),
            "beside, much": _parameters(f"{kind.lower()}_cpd_req_energy_transfer_mode", 5, ev_maximum_voltage=600),
            "beside, little": _parameters(f"{kind.lower()}_cpd_req_energy_transfer_mode", 0.3, ev_maximum_voltage=420),
        }
        for kind in ("DC", "AC")
    },
    "WPT_ChargeParameterDiscoveryReq": {
        "": _changed(),
        "beside": _changed(SIDE),
        "beside, much": _receivable(2),
        "beside, little": _receivable(0.3),
    },
    "MeteringConfirmationReq": {"": _changed(), "beside": _changed(PayloadType.METERING_CONFIRMATION)},
    "ACDP_SystemStatusReq": {
        "ready": _changed(PayloadType.ACDP_SYSTEM_STATUS),
        "not ready": lambda found: (
            {
                "ev_technical_status": replace(
                    found.ask("ACDP_SystemStatusReq").ev_technical_status, ev_ready_to_charge=False
                )
            },
            PayloadType.ACDP_SYSTEM_STATUS,
        ),
    },
}
"""Request -> word -> what is changed in the request by the book, and the stream that it goes on."""


def said(requests: Collection[str], variants: Mapping[str, Mapping[str, Variant]]) -> tuple[Step, ...]:
    """Return every request, in every variant."""
    return tuple(("say", name, variant) for name in sorted(requests) for variant in variants.get(name, ("",)))


SAID: Final = said(REQUESTS, VARIANTS)
"""Every request, in every variant."""

DIPS: Final = ((4.5, 0.3), (0.9, 0.1), (0.5, 0.5), (0.3, 0.7), (0.1, 0.9), (0.2, 2.0))
"""Spells in which a vehicle or a stage obeys nobody, and in which it follows."""

LIMITS: Final = ((0, 0), (3_000, 1_000), (40_000, 9_000))

TOLD: Final[tuple[Step, ...]] = (
    *(("fact", name) for name in SIMPLE),
    ("stop", "deauthorized"),
    ("stop", "energy_limit"),
    *(
        ("limit", source, *watts)
        for source in ("site", "operator")
        for watts in ((0, 0), (3_000, 1_000), (40_000, 9_000))
    ),
    *(("setpoint", watts) for watts in (None, 0, 2_000, -5_000, 30_000)),
    ("grid", 4_000, None),
    ("grid", 0, 0),
    ("grid", 0, 0, 0, True),
    ("grid", None, -2_000, -3_000),
    ("tariff",),
    ("sign", 6_000),
    *(("pilot", letter) for letter in "BCD"),
    ("unplug",),
    ("abort",),
    ("switch", False),
    ("disk", 4.0),
    *(("fault", name) for name in FAULTS),
)
"""Every fact, and whatever else can happen."""


MILD: Final[tuple[Step, ...]] = (
    *(("limit", source, *watts) for source in ("site", "operator") for watts in (*LIMITS, LIMITS[-1])),
    *(("setpoint", watts) for watts in (None, None, None, 0, 2_000, -5_000)),
    *(("grid", *bounds) for bounds in (*((None, None),) * 3, (0, 0), (0, 0, 0, True), (4_000, None))),
    *(("sign", watts) for watts in (3_000, 6_000, 9_000)),
    *(("fact", name) for name in SIMPLE if name != "HardwareFault"),
    *(("fault", name, False) for name in FAULTS),
    ("tariff",),
    ("pilot", "C"),
    ("pilot", "C"),
    ("pilot", "B"),
    ("disk", 0.0),
    ("disk", 1.0),
)
"""What a session outlives."""


async def perform(
    pki: PkiTree,
    folder: Path,
    kind: Kind,
    steps: Sequence[Step],
    *,
    scheduled: bool = False,
    guarded: bool = True,
    made: Callable[..., "Play"] | None = None,
    config: SeccConfig | None = None,
    simulated: SimulatedEvseConfig | None = None,
) -> list[str]:
    """Play steps to a new charger, and return what was wrong. `guarded` False: one without a safety monitor; `made`
    makes the rig."""
    how: dict[str, Any] = {"made": made or Play, "guarded": guarded, "simulated": simulated}
    modes = (ControlMode.SCHEDULED,) if scheduled else (ControlMode.DYNAMIC,)
    config = config or SeccConfig(services=tuple(EnergyService), control_modes=modes)
    phases = steps[0][1] if steps and steps[0][0] == "phases" else 3
    async with rig(pki, folder, kind, config=config, phases=phases, **how) as found:
        assert isinstance(found, Play)
        found.scheduled = scheduled
        found.watch()
        await asyncio.sleep(LOOK_S)
        try:
            for step in steps:
                await found.do(step)
        except AssertionError as error:
            if not found.judge.wrong:
                return [f"{type(error).__name__}: {error}"]
        finally:
            found.looking.cancel()
        return found.judge.wrong


def play(pki: PkiTree, folder: Path, kind: Kind, steps: Sequence[Step], **how: Any) -> list[str]:
    """See `perform`; in simulated time."""
    return in_simulated_time(perform(pki, folder, kind, steps, **how))


def command(kind: Kind, steps: Sequence[Step], *, scheduled: bool = False) -> str:
    """Return a command that plays the steps again."""
    return script("tests.safety.judged.play", (kind, "scheduled") if scheduled else (kind,), steps)


IN_TURNS: Final[tuple[int, Callable[[random.Random], Sequence[Step]]]] = (
    2,
    lambda chance: [
        ("charge",),
        ("in_turns", chance.choice((-22_000, -6_000, 22_000)), *chance.choice(DIPS), chance.randint(2, 6)),
    ],
)
"""Dips of every duty cycle, in a walk."""

PHASES: Final = (((3, 3),) * 3, ((1, 1),) * 3, ((2, 2),) * 2, ((1, 3), (3, 1), (1, 2), (2, 3)))
"""Phases of a vehicle: drawn and named."""

LINES: Final[tuple[int, Callable[[random.Random], Sequence[Step]]]] = (
    8,
    lambda chance: [
        ("line", chance.choice(("site", "operator")), *chance.choice(((None, None), (13_000, 6_000), (6_000, 0)))),
        ("loop", chance.choice((0.5, 7.0))),
    ],
)
SWINGS: Final[tuple[int, Callable[[random.Random], Sequence[Step]]]] = (
    2,
    lambda chance: [
        ("charge",),
        ("swing", *swing(chance), chance.choice((None, None, 20_000, 8_000))),
    ],
)
"""A bound that oscillates with every duty cycle."""


def swing(chance: random.Random) -> tuple[int, float, float, int]:
    """Return the lower one of two bounds, W, for how many s each is in force, and how often."""
    period_s, duty = chance.choice((0.4, 0.8, 2.0, 5.0, 10.0)), chance.choice((0.05, 0.1, 0.25, 0.5, 0.75, 0.95))
    times = max(2, int(20 / period_s))
    return chance.choice((0, 2_000, 6_000)), round(period_s * duty, 2), round(period_s * (1 - duty), 2), times


BESIDE: Final[tuple[int, Callable[[random.Random], Sequence[Step]]]] = (
    4,
    lambda chance: [
        ("charge",),
        ("fact", "RenegotiationRequested"),
        ("loop", 0.3),
        ("beside", chance.choice(("", ", much", ", little"))),
        ("loop", 1.0),
    ],
)
"""Other parameters on the side stream of a renegotiation, while power flows."""

_CHANCES: Final[Chances] = {
    "lines": LINES,
    "swings": SWINGS,
    "beside": BESIDE,
    "onward": (6, lambda chance: [("onward",)] * chance.randint(1, 4)),
    "charge": (12, lambda _: [("charge",), ("loop", 0.5)]),
    "loop": (30, lambda chance: [("loop", round(chance.uniform(0.1, 2.0), 1))]),
    "sign": (6, lambda chance: [("sign", chance.choice((3_000, 9_000))), ("loop", 0.5)]),
    "fit": (18, lambda chance: [("fit", chance.randrange(1000))]),
    "wait": (12, lambda chance: [("wait", chance.choice((0.05, 0.2, 0.4, 0.8, 1.2, 3.0)))]),
    "long": (1, lambda chance: [("wait", chance.choice((8.0, 65.0)))]),
    "say": (2, lambda chance: [chance.choice(SAID)]),
    "in turns": IN_TURNS,
    "mild": (30, lambda chance: [chance.choice(MILD)]),
    "harsh": (5, lambda chance: [chance.choice(TOLD)]),
}
"""How often what is done: mostly what lets power flow."""


def wander(kind: Kind, seed: int, count: int) -> list[Step]:
    """Return random steps, of which most go on by the book, so that power flows."""
    chance = random.Random(f"{kind} {seed}")
    first: list[Step] = [("phases", *chance.choice(chance.choice(PHASES)))] if kind == "ac" else []
    first += [("to", _LOOP[kind].value)] if chance.random() < 0.5 else []
    return walk(chance, count, _CHANCES, first=first)


def main(arguments: Sequence[str], play: Callable[..., list[str]] = play) -> int:
    """Play the steps that are given, and print what was wrong."""
    kind, *modes, text = arguments
    patient.install()  # programs read the time of the loop
    with tempfile.TemporaryDirectory() as folder:
        pki = make_pki(Path(folder) / "pki", now=datetime.now(UTC))
        wrong = play(pki, Path(folder), kind, json.loads(text), **dict.fromkeys(modes, True))
    return reported(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
