"""Where a station serves its CSMS: answers requests and carries out what follows from them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from secc.station_link import StationLink
from secc.station_state import CONNECTOR, Hooks, StationState
from v2g.errors import V2GError
from v2g.net.clock import Clock
from v2g.observe import Observe
from v2g.ocpp import answers
from v2g.ocpp.messages.availability import HeartbeatRequest
from v2g.ocpp.messages.base import EVSE, Message
from v2g.ocpp.messages.metering import MeterValuesRequest
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse, TriggerReason
from v2g.ocpp.profiles import Allowance, OpenTransaction, allowance
from v2g.ocpp.routes import action_of, response_type
from v2g.ocpp.transactions import MeterSample, meter_value

FASTEST_SAMPLES: Final = 1.0
"""Real seconds between periodic samples at least, however fast simulated time runs."""


class Update(Protocol):
    """Reports progress of a transaction, as `Station.updated` does."""

    def __call__(self, reference: str, *, trigger: TriggerReason, sample: MeterSample | None = None) -> None: ...


class StationDesk:
    """Answers the CSMS from the station's state and turns its wishes into hooks."""

    def __init__(
        self,
        state: StationState,
        link: StationLink,
        *,
        hooks: Hooks,
        clock: Clock,
        observe: Callable[[Observe], None],
        update: Update,
    ) -> None:
        self._state = state
        self._link = link
        self._hooks = hooks
        self._clock = clock
        self._observe = observe
        self._update = update
        self._limits: dict[int, Allowance] = {}
        self._limits_version = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sampling: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Cancel what is under way."""
        for task in self._tasks:
            task.cancel()
        for timer in (self._timer, self._sampling):
            if timer:
                timer.cancel()

    def show(self, evse_id: int, *, again: bool = False) -> None:
        """Tell the CSMS the state of a connector, if it is news or `again`."""
        self._link.connector(evse_id, CONNECTOR, self._state.shown(evse_id), again=again)

    async def answer(self, request: Message) -> Message:
        """Return the response to a request; what follows from it happens right after it was sent."""
        view = self._state.view(self._link.version, self._link.registration, self._hooks)
        reply = answers.answer(request, view)
        self._note("csms_request", action=action_of(request), status=str(getattr(reply.response, "status", "")))
        asyncio.get_running_loop().call_soon(self._carry_out, reply.effects)
        return reply.response

    def event_answered(self, event: TransactionEventRequest, answer: TransactionEventResponse) -> None:
        """End a transaction whose identifier the CSMS no longer accepts (E05, C15.FR.04)."""
        record = self._state.find(event.transaction_info.transaction_id)
        info = answer.id_token_info
        if record is None or info is None or info.status == "Accepted":
            return
        self._note("deauthorized", transaction_id=record.transaction_id, status=info.status)
        if self._hooks.on_stop and self._state.stops_on_invalid_id():
            self._hooks.on_stop(record.reference, "deauthorized")

    def transactions_changed(self) -> None:
        """Follow the opening or closing of a transaction: other limits, and samples while one is open."""
        self.limits_changed()
        if self._state.records and self._sampling is None:
            self._arm_sampling()

    def limits_changed(self) -> None:
        """Work out anew what profiles allow, tell what is different, and come back when that may change."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        now = self._clock.utc_ms()
        until: list[int] = []
        for evse_id in self._state.status:
            record = self._state.record_on(evse_id)
            transaction = OpenTransaction(record.transaction_id, evse_id, record.started_ms) if record else None
            found = allowance(self._state.profiles, now, evse_id=evse_id, transaction=transaction)
            if found.until_ms is not None:
                until.append(found.until_ms)
            if _differs(found, self._limits.get(evse_id, Allowance())):
                self._limits[evse_id] = found
                self._limits_version += 1
                self._note("limits", evse_id=evse_id, charge_w=found.charge_w, discharge_w=found.discharge_w)
                if self._hooks.on_limit:
                    self._hooks.on_limit(evse_id, found, self._limits_version)
        if until:
            seconds = (min(until) - now) / 1000 / self._clock.scale
            self._timer = asyncio.get_running_loop().call_later(min(seconds, 86_400.0), self.limits_changed)

    def _arm_sampling(self) -> None:
        interval = self._state.sample_interval() / self._clock.scale
        if self._hooks.meter is None or interval <= 0:
            return
        delay = max(interval, FASTEST_SAMPLES)
        self._sampling = asyncio.get_running_loop().call_later(delay, self._sample)

    def _sample(self) -> None:
        """Report what the meter shows in each open transaction (J02)."""
        self._sampling = None
        for record in list(self._state.records.values()):
            sample = self._hooks.meter(record.evse_id) if self._hooks.meter else None
            if sample is not None:
                self._update(record.reference, trigger="MeterValuePeriodic", sample=sample)
        if self._state.records:
            self._arm_sampling()

    def _carry_out(self, effects: tuple[answers.Effect, ...]) -> None:
        for effect in effects:
            try:
                self._carry_out_one(effect)
            except V2GError as error:
                self._note("not_kept", effect=type(effect).__name__, reason=str(error)[:200])

    def _carry_out_one(self, effect: answers.Effect) -> None:
        hooks = self._hooks
        match effect:
            case answers.KeepValue(key=key, value=value):
                self._state.keep(key, value)
            case answers.KeepProfiles(profiles=profiles):
                try:
                    self._state.keep_profiles(profiles)
                finally:
                    self.limits_changed()  # a full disk is no reason to exceed a limit
            case answers.GridSignalReceived(data=data) if hooks.on_grid_signal:
                hooks.on_grid_signal(data)
            case answers.StopRemotely(transaction_id=transaction_id) if hooks.on_stop:
                if record := self._state.find(transaction_id):
                    hooks.on_stop(record.reference, "remote")
            case answers.StartRemotely() if hooks.on_start:
                hooks.on_start(effect.evse_id, effect.remote_start_id, effect.id_token, effect.id_token_type)
            case answers.SetAvailability(evse_ids=evse_ids, operative=operative):
                for evse_id in evse_ids:
                    self._set_operative(evse_id, operative)
            case answers.Unlock(evse_id=evse_id) if hooks.on_unlock:
                hooks.on_unlock(evse_id)
            case answers.Restart(evse_id=place, at_once=at_once) if hooks.on_reset:
                hooks.on_reset(place, at_once)
            case answers.SendReport(requests=requests):
                self._spawn(self._send_all(requests))
            case answers.Trigger(message=message, evse=evse):
                self._trigger(message, evse)
            case answers.CostShown(transaction_id=transaction_id, total=total) if hooks.on_cost:
                if record := self._state.find(transaction_id):
                    hooks.on_cost(record.reference, total)

    def _set_operative(self, evse_id: int, operative: bool) -> None:
        self._state.set_operative(evse_id, operative)
        if self._hooks.on_availability:
            self._hooks.on_availability(evse_id, operative)
        self.show(evse_id)

    def _trigger(self, message: str, evse: EVSE | None) -> None:
        places = [evse.id] if evse is not None and evse.id else list(self._state.status)
        match message:
            case "BootNotification":
                self._link.boot_now()
            case "Heartbeat":
                self._spawn(self._send_all((HeartbeatRequest(),)))
            case "StatusNotification":
                for evse_id in places:
                    self.show(evse_id, again=True)
            case "MeterValues":
                samples = [(evse_id, self._hooks.meter(evse_id)) for evse_id in places] if self._hooks.meter else []
                requests = [
                    MeterValuesRequest(evse_id=evse_id, meter_value=(meter_value(sample, "Trigger"),))
                    for evse_id, sample in samples
                    if sample is not None
                ]
                self._spawn(self._send_all(tuple(requests)))
            case "TransactionEvent":
                for evse_id in places:
                    if record := self._state.record_on(evse_id):
                        sample = self._hooks.meter(evse_id) if self._hooks.meter else None
                        self._update(record.reference, trigger="Trigger", sample=sample)

    async def _send_all(self, requests: tuple[Message, ...]) -> None:
        for request in requests:
            try:
                await self._link.call(request, response_type(action_of(request)))
            except V2GError as error:
                self._note("not_sent", action=action_of(request), reason=str(error)[:200])
                return

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _note(self, name: str, **data: Any) -> None:
        self._observe(Observe("ocpp", name, data))


def _differs(one: Allowance, two: Allowance) -> bool:
    """Return whether two allowances differ in what is allowed, not only in how long."""
    return (one.charge_w, one.discharge_w, one.setpoint_w, one.operation_mode) != (
        two.charge_w,
        two.discharge_w,
        two.setpoint_w,
        two.operation_mode,
    )
