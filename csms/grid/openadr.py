"""The VEN of an OpenADR VTN: its events become the grid signal, and set-points for dispatch.

One of several nodes at a time is the VEN (`csms.db.leases`), and goes on with what the one before it has stored. If
the VTN does not respond, the known events continue as scheduled, and export ends after `outage_s`.
"""

import ssl
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection

from csms.booking import held
from csms.booking.plausibility import energy_between
from csms.grid import store as memories
from csms.grid.config import OpenAdr, openadr_source
from csms.grid.rules import SourceSignal
from csms.grid.setpoints import SetpointFollower, keep_polling, time_out
from csms.grid.source import GridSource
from csms.grid.vtn_client import VtnClient, VtnRefusal
from csms.services import Services
from csms.transactions import store as transactions
from v2g import typed_json
from v2g.energy.grid_signal import SignalSlot
from v2g.errors import CodecError, StoreError, TransportError
from v2g.openadr.demands import EMERGENCIES, Demands, GridAlert, demands
from v2g.openadr.objects import Event, Program
from v2g.openadr.reports import report_name, usage_report, wanted_report
from v2g.pki.keys import read_secret

_LEASE: Final = "openadr"
_POLL_S: Final = 30.0
"""Time-out of all requests of a poll: while a slow VTN is read, known events neither begin nor end."""
_MOST_EVENTS: Final = 2_000
"""Of all programs together."""
_LATE_READINGS_MS: Final = 60_000
"""A report waits this long after its last interval for readings in transit."""
_REPORTED_FOR_MS: Final = 7 * 86_400_000
"""Reports that were due longer ago are not sent any more."""


class _Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a restart: the VTN's last answer, and what it was asked for."""

    asked: tuple[str, tuple[str, ...], tuple[str, ...]]
    """URL, programs and targets."""
    answered_ms: int
    programs: tuple[Program, ...]
    events: tuple[Event, ...]
    usable: tuple[Event, ...]


class Ven:
    """Follows the events of a VTN."""

    def __init__(self, services: Services, config: OpenAdr, client: VtnClient, *, poll_s: float = _POLL_S) -> None:
        """`poll_s`: time-out of all requests of a poll, s."""
        self._services, self._config, self._client, self._poll_s = services, config, client, poll_s
        self._currency = services.config.grid.currency
        self._source = openadr_source(config.ven_name)
        self._asked = config.url, config.programs, config.targets
        self._setpoints = SetpointFollower(services, self._source)
        self._programs: tuple[Program, ...] = ()
        self._events: tuple[Event, ...] = ()
        self._usable: dict[str, Event] = {}
        """The last version of each event that could be used as a whole, by id."""
        self._unreadable: tuple[str, ...] = ()
        self._answered_ms: int | None = None
        self._loaded = self._connected = False
        self._loss = ""
        self._reported: frozenset[str] = frozenset()
        self._alerts: frozenset[GridAlert] = frozenset()
        self._poll_ms = 0
        self._reports_done: set[str] = set()
        self._unreported: tuple[str, ...] = ()

    async def run(self) -> None:
        """Request events, and apply their demands, until cancelled."""
        await keep_polling(self.step, self._services.clock, self._config.poll_interval_s)

    async def step(self) -> int:
        """Request events if it is time, apply their present demands; return when to do so again (UTC ms)."""
        now_ms, interval_ms = self._services.clock.utc_ms(), round(self._config.poll_interval_s * 1000)
        if now_ms < self._poll_ms - interval_ms:  # the clock was set back
            self._poll_ms, self._answered_ms = 0, self._answered_ms and min(self._answered_ms, now_ms)
        if now_ms >= self._poll_ms:
            self._poll_ms = now_ms + interval_ms
            if await self._services.leads(_LEASE, self._config.poll_interval_s):
                if not self._loaded:
                    await self._load()
                await self._poll()
                await self._send_reports(now_ms)
            else:
                self._answered_ms, self._loaded = None, False
        if self._answered_ms is None:
            return self._poll_ms
        return min(self._poll_ms, await self._apply(self._answered_ms))

    async def _load(self) -> None:
        """Go on with what this node, or the one before it, knew."""
        stored = await self._services.store.read(memories.memory_of, self._source)
        self._loaded, self._connected = True, False
        try:
            memory = typed_json.decode(stored, _Memory) if stored else None
        except msgspec.DecodeError as error:  # of another version
            self._services.announce("ocpp", "openadr_problem", reason=f"its stored state: {error}"[:200])
            return
        if memory is not None and memory.asked == self._asked:
            self._answered_ms = memory.answered_ms
            self._programs, self._events = memory.programs, memory.events
            self._usable = {each.id: each for each in memory.usable}

    async def _poll(self) -> None:
        """Fetch the VTN's programs and events; if that fails, the known ones stay."""
        try:
            async with time_out(self._poll_s):
                programs, events, unreadable, whole = await self._read()
        except (TransportError, CodecError) as error:
            instead = f"known events go on, and export ends {self._config.outage_s} s after its last answer"
            if (loss := f"the VTN does not answer; {instead}: {error}") != self._loss:
                self._services.announce("ocpp", "openadr_lost", reason=str(error)[:200])
            self._loss = loss
            return
        if self._loss or not self._connected:
            self._services.announce("ocpp", "openadr_connected", programs=len(programs), events=len(events))
        self._loss, self._connected = "", True
        self._answered_ms = self._services.clock.utc_ms() if whole else self._answered_ms or 0
        self._programs, self._events, self._unreadable = programs, events, unreadable
        memory = _Memory(
            asked=self._asked,
            answered_ms=self._answered_ms,
            programs=self._programs,
            events=self._events,
            usable=tuple(self._usable.values()),
        )
        await self._services.store.run(memories.save_memory, self._source, msgspec.json.encode(memory).decode())

    async def _read(self) -> tuple[tuple[Program, ...], tuple[Event, ...], tuple[str, ...], bool]:
        """Return the VTN's programs and their events, what is wrong with those that cannot be read, and whether all
        were answered.

        An event that can no longer be used goes on as it was, beside what it says now: nonsense ends no limit. So do
        the events of a program that is not answered, or that cannot be read.
        """
        programs, strange = await self._client.programs(self._config.programs)
        programs += tuple(each for each in self._programs if each.id in strange)
        problems, whole = [*strange.values()], True
        events: list[Event] = []
        unreadable: dict[str, str] = {}
        for program in programs:
            try:
                found, wrong = await self._client.events(program.id, self._config.targets)
                unreadable |= wrong
            except (VtnRefusal, CodecError) as error:
                known = {each.id: each for each in self._events if each.program_id == program.id}
                found, whole = tuple(known.values()), whole and isinstance(error, VtnRefusal) and error.final
                problems.append(str(error))
            events += found
            if len(events) + len(unreadable) > _MOST_EVENTS:
                raise CodecError(f"the VTN has more than {_MOST_EVENTS} events")
        now_ms, name = self._services.clock.utc_ms(), self._config.ven_name
        horizon_ms = self._config.price_horizon_s * 1000
        doubtful = {*unreadable}
        for event in events:
            if event != self._usable.get(event.id):
                alone = demands(programs, (event,), now_ms, horizon_ms=horizon_ms, ven_name=name)
                doubtful |= {event.id} if alone.problems else set()
        before = {each: self._usable[each] for each in doubtful & self._usable.keys()}
        self._usable = before | {event.id: event for event in events if event.id not in doubtful}
        return programs, (*events, *before.values()), (*problems, *unreadable.values()), whole

    async def _send_reports(self, now_ms: int) -> None:
        """Send the requested reports that are due; one that fails is tried again at the next poll."""
        if self._loss:
            return
        try:
            async with time_out(self._poll_s):
                name = self._config.ven_name
                self._reports_done &= {event.id for event in self._events}
                problems = []
                for event in self._events:
                    if event.id in self._reports_done:
                        continue
                    try:
                        wanted = wanted_report(event, ven_name=name)
                        if wanted is None:
                            continue
                        if not wanted.due_ms + _LATE_READINGS_MS <= now_ms < wanted.due_ms + _REPORTED_FOR_MS:
                            continue
                        if not await self._client.has_report(event.id, name, report_name(wanted, name)):
                            kwh = await self._services.store.read(_kwh, wanted.intervals, now_ms)
                            await self._client.report(usage_report(wanted, kwh, ven_name=name))
                            self._services.announce(
                                "ocpp", "openadr_reported", event=event.id, intervals=len(kwh), kwh=round(sum(kwh), 3)
                            )
                    except (TransportError, CodecError, StoreError) as error:
                        problems.append(str(error))
                    else:
                        self._reports_done.add(event.id)
                self._unreported = tuple(problems)
        except TransportError as error:
            self._unreported = (str(error),)

    async def _apply(self, answered_ms: int) -> int:
        """Apply the present demands of the events; return when they may change (ms)."""
        now_ms = self._services.clock.utc_ms()
        found = demands(
            self._programs,
            self._events,
            now_ms,
            horizon_ms=self._config.price_horizon_s * 1000,
            ven_name=self._config.ven_name,
        )
        # report each problem once, until it is solved
        wrong = (self._unpriced(found),)
        problems = frozenset(filter(None, (*self._unreadable, *self._unreported, *found.problems, *wrong)))
        for problem in sorted(problems - self._reported):
            self._services.announce("ocpp", "openadr_problem", reason=problem[:200])
        self._reported = problems
        alerts = frozenset(found.alerts)
        for alert in sorted(alerts - self._alerts, key=lambda each: (each.type, each.event_id)):
            self._services.announce(
                "ocpp", "openadr_alert", type=alert.type, text=alert.text, event=alert.event_id, until_ms=alert.until_ms
            )
        self._alerts = alerts
        stated = SourceSignal(
            source=self._source,
            slots=() if self._unpriced(found) else _slots(found),
            problem="; ".join(filter(None, (self._loss, *sorted(self._reported))))[:200],
            import_limit_w=found.import_limit_w,
            export_limit_w=found.export_limit_w,
            export_until_ms=min(answered_ms + self._config.outage_s * 1000, found.export_until_ms),
            setpoint_w=found.setpoint_w,
            setpoint_until_ms=found.setpoint_until_ms,
            emergency_until_ms=max((each.until_ms for each in found.alerts if each.type in EMERGENCIES), default=0),
        )
        await self._services[GridSource].state(stated)
        again_ms = await self._setpoints.follow(stated.setpoint_w, stated.setpoint_until_ms, now_ms)
        return min(found.until_ms, again_ms)

    def _unpriced(self, found: Demands) -> str:
        """Return why prices are not used, empty if they are."""
        if found.currency not in (None, self._currency):
            return f"prices in {found.currency} are not used: grid.currency is {self._currency}"
        return self._services[GridSource].bounds.refusal(_slots(found))


def _slots(found: Demands) -> tuple[SignalSlot, ...]:
    return tuple(
        SignalSlot(
            start_ms=slot.start_ms,
            duration_s=slot.duration_ms // 1000,
            import_price=slot.import_price,
            export_compensation=slot.export_compensation,
        )
        for slot in found.prices
        if slot.duration_ms >= 1000
    )


async def follow_vtn(services: Services, config: OpenAdr) -> None:
    """Be the VEN of the configured VTN, until cancelled. Raises ConfigError, KeyAccessError."""
    secret = read_secret(config.client_secret_file).decode().strip()
    tls = ssl.create_default_context(cafile=None if config.root is None else str(config.root))
    client = VtnClient(
        services.clock,
        url=config.url,
        token_url=config.token_url,
        client_id=config.client_id,
        client_secret=secret,
        scope=config.scope,
        tls=tls,
    )
    await Ven(services, config, client).run()


def _kwh(connection: Connection, intervals: Sequence[tuple[int, int, int]], now_ms: int) -> list[float]:
    """Return the energy of each interval over all transactions, kWh; negative if more was fed back than drawn.

    Transactions whose readings cannot be are left out.
    """
    start_ms, end_ms = min(start for _, start, _ in intervals), max(end for _, _, end in intervals)
    judged = (held.counted(connection, each, now_ms) for each in transactions.during(connection, start_ms, end_ms))
    usages = [each.usage for each in judged if each is not None]
    return [sum(energy_between(usage, start, end) for usage in usages) / 1e6 for _, start, end in intervals]
