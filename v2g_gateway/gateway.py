"""The telemetry gateway: CAN frames in, durable records out, over MQTT 5 or HTTPS.

Frames become signals (`v2g.telemetry.mapping`), signals become delta records (`v2g.telemetry.batch`), and records stay
in the outbox until the back end has stored them. Losing the uplink loses no data and disturbs nothing else (R167).
"""

import asyncio
import contextlib
import math
import secrets
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET

from v2g.battery.sample import Finding
from v2g.energy.settlement.checkpoints import Copy
from v2g.errors import ConfigError, StoreError, TransportError, V2GError
from v2g.hardware.power_modules.can_errors import BusHealth, CanFault
from v2g.io.can import CanPort
from v2g.io.can_link import complaints, read_link
from v2g.io.keys.wrapped import read_wrapped
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.processor_heat import THROTTLED, HeatReading, ProcessorWatch
from v2g.io.runtime.supervision import Backoff, Supervisor, cancel_tasks, child, wait_at_most
from v2g.io.storage.emergency_log import EmergencyLog
from v2g.io.storage.outbox import Outbox
from v2g.io.storage.record_keys import RecordKeys
from v2g.io.tls.files import POLL_S
from v2g.observe import Observe, Scalar
from v2g.pki.keys import save_secret
from v2g.telemetry.batch import Batcher
from v2g.telemetry.cells import CellStatistics, CellWindows, HeatGradient, with_imbalance
from v2g.telemetry.columns import encode_compact
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.filters import GlitchFilter
from v2g.telemetry.gnss import ODOMETER, Fix, PositionWatch
from v2g.telemetry.local_events import CONSENT, DROPPED, FINDING, LocalEvent, reported
from v2g.telemetry.mapping import CanMapping, Mapped, normalised
from v2g.telemetry.priority import Prioritiser
from v2g.telemetry.privacy import SCORES, PositionBlur
from v2g.telemetry.registry import registered, shipped
from v2g.telemetry.signals import CELL_VOLTAGE, LATITUDE, SCHEMA_5, Record
from v2g_gateway.battery import BatteryWatch
from v2g_gateway.battery import event as event_of
from v2g_gateway.battery import facts as facts_of
from v2g_gateway.config import FallbackConfig, GatewayConfig
from v2g_gateway.consent import ConsentSource
from v2g_gateway.delivery import UplinkDelivery
from v2g_gateway.local_source import LocalSource, TakenCheckpoints
from v2g_gateway.recorder import OutboxRecorder
from v2g_gateway.replay import Replay
from v2g_gateway.sources import GATHER_S, SOURCES, Intake
from v2g_gateway.uplink import HttpsUplink, MqttUplink, Observer, OnMarks, Uplink

if TYPE_CHECKING:  # loaded only if configured
    from v2g.io.ota.follower import Follower
    from v2g_gateway.metrics import GatewayReading

MAX_LOCAL: Final = 200
"""Reports of local programs that wait for the outbox."""

DROPS_REPORTED_S: Final = 60.0
"""Minimum interval of events about a full outbox."""


RETURN_ANSWERS: Final = 3
"""The first uplink is used again after so many answers in a row, over `fallback.back_s`."""

ASK_S: Final = 60.0
"""Longest interval of questions over the first uplink while they are not answered: each costs a connection."""

ANSWER_S: Final = 10.0
"""Time for connecting and an answer."""

LOOK_S: Final = 1.0
"""Interval of looking whether a receiver is silent, and whether consent has changed."""

GAPS_S: Final = 60.0
"""Minimum interval of records about dropped records."""


def make_uplink(
    config: GatewayConfig, which: GatewayConfig | FallbackConfig, boot: int, on_marks: OnMarks, observe: Observer
) -> Uplink:
    """Return the configured first uplink, or the fallback (`which`).

    Raises ConfigError if there is none, TransportError for unusable files.
    """
    low_rate = isinstance(which, FallbackConfig) and which.class_ == "satellite"
    if which.mqtt is not None:
        return MqttUplink(which.mqtt, config.prefix, config.ev, on_marks, boot=boot, low_rate=low_rate, observe=observe)
    if which.http is not None:
        return HttpsUplink(which.http, on_marks, low_rate=low_rate, observe=observe)
    raise ConfigError("an uplink has neither an mqtt nor an http section", hint="add [mqtt] with host and ca")


def place_key(path: Path) -> bytes:
    """Return the vehicle's key of blurred positions (32 bytes), made when missing. Raises V2GError."""
    try:
        if not path.exists():
            save_secret(path, f"{secrets.token_hex(32)}\n".encode())
        return bytes.fromhex(read_wrapped(path).decode("ascii"))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint="is the folder writable, and the disk not full?") from None
    except ValueError:
        raise ConfigError(f"{path} is no key of positions", hint="delete it: a new one is made") from None


def outbox_keys(config: GatewayConfig) -> RecordKeys | None:
    """Return what seals the outbox (R145), its first key made when missing; None: it is plain. Raises V2GError."""
    if not config.outbox_sealed:
        return None
    if config.outbox_keys is not None:
        return RecordKeys(config.outbox_keys)
    path = config.outbox.with_suffix(".keys")
    try:
        if not path.exists():
            RecordKeys.rotate(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint="is the folder writable, and the disk not full?") from None
    return RecordKeys(path)


def state_folder(outbox: Path) -> Path:
    """Return where updates keep images and state: beside the outbox."""
    return outbox.with_suffix(".update")


class Gateway:
    """Runs from `open` to `close`, in tasks that restart after a failure: `telemetry bus` receives CAN frames,
    `telemetry changes` makes due records, `telemetry records` brings them into the outbox, `telemetry delivery` sends
    them to the back end, `telemetry gaps` reports dropped ones, `telemetry processor` looks how hot it is, `telemetry
    keys` renews certificates and keys."""

    def __init__(
        self,
        config: GatewayConfig,
        clock: Clock,
        observe: Callable[[Observe], None],
        outbox: Outbox,
        taken: TakenCheckpoints,
        places: bytes,
        disk: DiskThread,
        emergencies: EmergencyLog,
    ) -> None:
        """Called by `open`. `places` is the key of blurred positions."""
        self._config, self._clock, self._observe, self._outbox = config, clock, observe, outbox
        self._mapping = CanMapping.read(config.dbc, config.signals or None)
        if flaws := self._mapping.warnings:
            facts: dict[str, Scalar] = {"dbc": str(config.dbc), "warnings": len(flaws), "first": str(flaws[0])}
            observe(Observe("telemetry", "dbc_warnings", facts))
        self._filter, self._cells = GlitchFilter(), CellWindows()
        self._statistics, self._heat = CellStatistics(), HeatGradient()
        self._batcher = Batcher(
            config.ev,
            outbox.boot,
            bands=config.rates,
            keyframe_s=config.keyframe_s,
            dead_bands=config.dead_bands,
            awaits_context=self._mapping.has_context,
        )
        encode = encode_compact if config.encoding == "columns" else encode_delivery
        self._delivery = UplinkDelivery(
            config.ev, outbox, observe, encode=encode, interval_s=config.uplink_interval, burst=config.rates.burst
        )
        self._taken = taken
        self._watch = BatteryWatch(
            config.battery,
            config.outbox.with_suffix(".battery"),
            emergencies,
            disk,
            self._mapping.cells,
            config.cells_around,
        )
        self._local: deque[Copy | LocalEvent] = deque()
        """Reports of local programs. A program whose reports find no room is read later: it keeps its checkpoints."""
        self._room = asyncio.Event()
        prioritiser = Prioritiser(config.summary_s)
        self._recorder = OutboxRecorder(outbox, prioritiser, on_stored=self._stored, on_boot=self._begin_boot)
        self._processor = ProcessorWatch(config.processor, self._processor_changed)
        self._consent = ConsentSource(config.consent, config.consent_file, observe)
        self._blur = PositionBlur(config.position_noise_m, places)
        self._positions = PositionWatch(
            min((each.lost_s for each in config.sources if each.is_receiver), default=math.inf)
        )
        self._offered, self._flushing = asyncio.Event(), asyncio.Lock()
        self._drops_reported_at = -math.inf
        self._ended: tuple[Finding, ...] = ()
        """What a person has ended before this start."""
        self._uplink: Uplink | None = self._make_uplink(config)
        """The one in use; None in between."""
        self._on_fallback = False
        self._bus_faults = Counter[str]()
        self._port: CanPort | None = None
        self._replay: Replay | None = None
        self._follower: Follower | None = None
        self._health = BusHealth("recording")
        self._intake, self._outflow = Supervisor(observe), Supervisor(observe)
        self._stack = contextlib.AsyncExitStack()

    @classmethod
    async def open(cls, config: GatewayConfig, clock: Clock, observe: Callable[[Observe], None]) -> "Gateway":
        """Open outbox, bus and uplink, and start. Raises ConfigError, StoreError, TransportError."""
        folder = config.schemas or shipped()
        known = await asyncio.to_thread(registered, folder)
        follower = None
        if config.update is not None:
            from v2g.io.ota.follower import Follower  # only where it is used

            follower = Follower(config.update, state_folder(config.outbox), clock.utc_ms, observe)
            await follower.start()
        async with contextlib.AsyncExitStack() as stack:
            box = await Outbox.open(
                config.outbox,
                config.ev,
                clock.utc_ms() // 1000,
                max_bytes=config.max_outbox_bytes,
                keys=await asyncio.to_thread(outbox_keys, config),
                observe=observe,
            )
            stack.push_async_callback(box.close)
            disk = DiskThread()
            stack.push_async_callback(disk.close)
            taken = await TakenCheckpoints.open(config.outbox.with_suffix(".checkpoints"), disk)
            places = await disk.ask(lambda: place_key(config.outbox.with_suffix(".places")))
            emergencies = await disk.ask(lambda: EmergencyLog.open(config.emergency_log))
            stack.callback(emergencies.close)
            gateway = cls(config, clock, observe, box, taken, places, disk, emergencies)
            gateway._follower = follower
            gateway._ended = await gateway._watch.load(clock.utc_ms())
            await gateway._consent.changed()
            if config.can.replay is not None:
                gateway._replay = await Replay.open(config.can.replay, config.can.replay_speed, clock.utc_ms)
            else:
                gateway._port = await gateway._attach()
            gateway._stack = stack.pop_all()
        gateway._begin()
        if SCHEMA_5 not in known:
            observe(Observe("telemetry", "schema_unregistered", {"schema": SCHEMA_5, "folder": str(folder)}))
        return gateway

    def _begin(self) -> None:
        self._say_consent()
        if self._uplink is not None:
            self._uplink.start()
        self._intake.keep("telemetry bus", self._listen if self._replay is None else self._play)
        self._intake.keep("telemetry changes", self._record)
        if self._config.consent_file is not None:
            self._intake.keep("telemetry consent", self._watch_consent)
        self._intake.keep("telemetry records", self._recorder.run)
        for path in self._config.event_sockets:
            self._intake.keep(f"telemetry source {path.name}", LocalSource(path, self._take, self._observe).run)
        intake = Intake(self._on_fix, self._on_mapped, self._on_payload, self._recorder.stored)
        for source in self._config.sources:
            run = SOURCES[source.kind](source, intake, self._observe).run
            self._intake.keep(f"telemetry source {source.kind}", run)
        if self._config.sources:
            self._intake.keep("telemetry positions", self._watch_positions)
        self._intake.keep("telemetry processor", self._processor.run)
        self._intake.keep("telemetry gaps", self._report_gaps)
        self._intake.keep("telemetry keys", self._renew_keys)
        if self._config.metrics_file is not None:
            from v2g_gateway.metrics import MetricsFile  # only where it is used

            metrics = MetricsFile(self._config.metrics_file, self._read, self._config.outbox.parent)
            self._outflow.keep("telemetry metrics", metrics.run)
        if self._follower is not None and self._config.update is not None:
            self._outflow.keep("update", partial(self._update, self._follower, self._config.update.every_s))
        self._outflow.keep("telemetry delivery", self._deliver)
        data: dict[str, Scalar] = {
            "transport": "http" if self._config.mqtt is None else "mqtt",
            "boot": self._outbox.boot,
        }
        self._observe(Observe("telemetry", "started", data))
        for found in self._ended:
            self._found(found, self._clock.monotonic())

    async def _attach(self) -> CanPort:
        can = self._config.can
        if can.interface == "socketcan":
            with contextlib.suppress(TransportError):  # opening it says why
                link = await asyncio.to_thread(read_link, can.channel)
                for what, hint in complaints(link, can.bitrate):
                    self._on_fault(CanFault("interface", what, hint))
        return await CanPort.opened(can, self._on_frame, on_fault=self._on_fault, gather_s=GATHER_S)

    def _on_fault(self, fault: CanFault) -> None:
        self._bus_faults[fault.name] += 1
        facts = {"fault": fault.name, "cause": fault.cause, "hint": fault.hint, "context": self._batcher.context}
        self._observe(Observe("telemetry", "can_fault", dict(facts)))

    async def _listen(self) -> None:
        """Receive frames until the bus fails."""
        port = self._port = self._port or await self._attach()
        try:
            await port.failed()
        finally:
            self._port = None
            await port.close()

    async def _play(self) -> None:
        """Take the frames of a recording. Records are due by its times; the outbox may delay it."""
        assert self._replay is not None
        frames, last_s = 0, -math.inf
        try:
            async for at_s, frame in self._replay.frames():
                await self._recorder.room()
                due = self._batcher.deadline()
                if due is not None and max(due, last_s) < at_s:  # frames of one time are in one record
                    await self._flush(max(due, last_s))
                frames, last_s = frames + 1, max(last_s, at_s)
                if frame.error:
                    for each in self._health.error(frame.frame_id, frame.data, at_s):
                        self._on_fault(each)
                else:
                    self._health.received()
                    self._take_frame(frame.identity, frame.data, at_s, last_s, round(at_s * 1000))
        except V2GError as error:
            self._observe(Observe("telemetry", "replay_failed", {"error": str(error)}))
        await self._flush(math.inf)
        self._observe(Observe("telemetry", "replay_ended", {"frames": frames}))

    def _on_frame(self, frame_id: int, data: bytes, at_s: float) -> None:
        self._take_frame(frame_id, data, at_s, self._clock.monotonic(), self._clock.utc_ms())
        self._offered.set()

    def _on_mapped(self, mapped: Mapped) -> None:
        """Take what a source says, as far as it can be."""
        self._place((msgspec.structs.replace(mapped, values=normalised(mapped.values)), []))

    async def _on_payload(self, found: Sequence[Mapped]) -> None:
        """Take what a source says of one time, in a record of its own: live, after a gap and read again, a history has
        the same records."""
        await self._recorder.room()
        await self._flush(self._clock.monotonic(), all_changes=True)  # what other sources have is of now
        for each in found:
            self._on_mapped(each)
        await self._flush(self._clock.at(self._past_ms(found[-1])), all_changes=True)

    def _past_ms(self, mapped: Mapped) -> int:
        """Return when it was measured: nothing is of later than now."""
        utc_ms = self._clock.utc_ms()
        return min(utc_ms, mapped.utc_ms or utc_ms)

    def _on_fix(self, fix: Fix) -> None:
        self._place(self._positions.fix(fix, self._clock.monotonic()))

    async def _watch_positions(self) -> None:
        """Notice a receiver that says nothing."""
        while True:
            await asyncio.sleep(LOOK_S)
            placed = self._positions.poll(self._clock.monotonic())
            if placed[1]:  # else it would date what is known, perhaps long ago, to now
                self._place(placed)

    def _place(self, placed: tuple[Mapped, list[Observe]]) -> None:
        mapped, events = placed
        utc_ms = self._past_ms(mapped)
        at = self._clock.at(utc_ms)  # gradients and full records go by its own time, too
        self._take_values(mapped, {}, at, at, utc_ms)
        self._report_places(events)
        self._offered.set()

    def _report_places(self, events: Sequence[Observe]) -> None:
        """Report what is wrong with positions; it leaves the vehicle as these do."""
        for each in events:
            self._observe(each)
            event = reported("gateway", each.stage, each.name, self._clock.utc_ms(), each.data)
            if event is not None and self._consent.consent.covers(LATITUDE):
                self._recorder.add(self._batcher.event(event, event.utc_ms))

    def _take_frame(self, frame_id: int, data: bytes, at_s: float, now: float, utc_ms: int) -> None:
        """Take a frame of `at_s` by the adapter's clock, which came at `now` (s) by that of the batcher."""
        mapped = self._mapping.decode(frame_id, data)
        if mapped is None and self._mapping.short[name := self._mapping.message_name(frame_id)] == 1:
            self._observe(Observe("telemetry", "short_frame", {"message": name, "octets": len(data)}))
        if mapped is None or self._filter.is_repeated(frame_id, data, at_s):
            return
        with_windows = mapped.cells and not self._mapping.has_cell_summary
        windows = self._cells.add(mapped.cells, at_s * 1000) if with_windows else {}
        if mapped.cells and not self._processor.hot:
            windows |= self._statistics.add(mapped.cells, at_s * 1000)
        self._take_values(mapped, windows, at_s, now, utc_ms)

    def _take_values(self, mapped: Mapped, windows: Mapping[str, float], at_s: float, now: float, utc_ms: int) -> None:
        """Offer what was mapped of any source, and what windows of it show."""
        self._filter.forget(mapped.absent)
        self._batcher.forget(mapped.absent)
        valid = self._filter.valid(mapped.values)
        if self._config.sources and ODOMETER in valid:
            self._report_places(self._positions.odometer(valid[ODOMETER]))
        values = with_imbalance(valid | normalised({**windows, **self._heat.add(valid, at_s * 1000)}))
        permitted = self._blur.blurred(self._consent.consent.permitted(values))
        self._batcher.offer(permitted, now, utc_ms, mapped.context)
        cells = mapped.cells if self._consent.consent.covers(CELL_VOLTAGE + ".min") else {}
        if permitted or cells:
            for found in self._watch.take(permitted, utc_ms, cells):
                self._found(found, now)
            for samples in self._watch.samples():
                self._recorder.add(self._batcher.cells(samples, utc_ms))

    def _found(self, found: Finding, now: float) -> None:
        facts = facts_of(found) | {"context": self._batcher.context}
        self._observe(Observe("telemetry", "battery_finding", facts))
        self._recorder.add(self._batcher.finding(event_of(found), now))

    def _processor_changed(self, reading: HeatReading, hot: bool, late_s: float) -> None:
        """Make few records while the processor is hot: what it has left is for control, and for what is found."""
        self._batcher.least_s = self._config.hot_interval_s if hot else 0.0
        self._offered.set()
        name = "cpu_throttled" if hot else "cpu_recovered"
        data: dict[str, Scalar] = {"celsius": reading.celsius, "throttled": reading.throttled, "late_s": late_s}
        self._observe(Observe("telemetry", name, data))
        celsius = math.nan if reading.celsius is None else reading.celsius
        found = Finding(THROTTLED, "warning", self._clock.utc_ms(), hot, celsius, self._config.processor.hot_c)
        self._recorder.add(self._batcher.finding(event_of(found), self._clock.monotonic()))

    async def _take(self, report: Copy | LocalEvent) -> None:
        """Take a local program's report when there is room."""
        if isinstance(report, Copy) and self._taken.has(report):
            return
        if isinstance(report, LocalEvent) and report.is_message_timeout:
            data = {name: value for name, value in report.data.items() if name != "session_id"}
            self._observe(Observe("telemetry", "message_timeout", {"program": report.program, **data}))
        while len(self._local) >= MAX_LOCAL:
            self._room.clear()
            await self._room.wait()
        self._local.append(report)
        self._offered.set()

    def _next_report(self) -> Record | None:
        """Return the record of the next local report."""
        while self._local:
            report = self._local.popleft()
            self._room.set()
            if isinstance(report, LocalEvent):
                return self._batcher.event(report, self._clock.utc_ms())
            if not self._taken.has(report):  # offered again while it waited
                self._taken.note(report)
                return self._batcher.checkpoint(report, self._clock.utc_ms())
        return None

    async def _record(self) -> None:
        """Make due records."""
        while True:
            await self._recorder.room()  # while the disk fails, changes are merged
            now = self._clock.monotonic()
            report_at = self._batcher.reports_due(now) if self._local else math.inf
            if report_at <= now and (report := self._next_report()) is not None:
                self._recorder.add(report)
                continue
            deadline = self._batcher.deadline() if self._replay is None else None
            if deadline is not None and deadline <= now:
                await self._flush(now)
                continue
            due = min(report_at, math.inf if deadline is None else deadline)
            await wait_at_most(None if due == math.inf else due - now, self._offered.wait())
            self._offered.clear()

    async def _flush(self, now: float, *, all_changes: bool = False) -> None:
        """Add the record that is due at `now`, with what may leave the vehicle."""
        async with self._flushing:  # none while another one reads consent
            await self._follow_consent()
            if (record := self._batcher.flush(now, all_changes=all_changes)) is not None:
                self._recorder.add(record, prompt=self._batcher.prompt)

    async def _follow_consent(self) -> None:
        before = self._consent.consent.groups
        if await self._consent.changed():
            self._batcher.keep_only(self._consent.consent.covers)
            self._say_consent(before)

    async def _watch_consent(self) -> None:
        """Notice consent that is given while nothing may leave, and so no record is due."""
        while True:
            await asyncio.sleep(LOOK_S)
            async with self._flushing:
                await self._follow_consent()

    def _begin_boot(self, boot: int) -> None:
        self._batcher.begin(boot)
        self._say_consent()

    def _say_consent(self, before: Collection[str] = ()) -> None:
        """Report consent to scores, first in each boot, or its end (R214): the back end keeps none without."""
        groups, utc_ms = self._consent.consent.groups, self._clock.utc_ms()
        event = LocalEvent("gateway", CONSENT, utc_ms, {"groups": " ".join(sorted(groups))})
        if SCORES in (*groups, *before):
            self._recorder.add(self._batcher.event(event, utc_ms))

    async def _stored(self, records: Sequence[Record], dropped: int, prompt: bool) -> None:
        self._delivery.wake(prompt=prompt)  # first: a file that cannot be written delays no delivery
        now = self._clock.monotonic()
        if dropped and now >= self._drops_reported_at + DROPS_REPORTED_S:
            self._drops_reported_at = now
            self._observe(Observe("telemetry", "records_dropped", {"dropped": self._outbox.dropped}))
        for each in records:
            if each.checkpoint is not UNSET:
                await self._taken.add(each.checkpoint)
        if any(each.event is not UNSET and each.event.name == FINDING for each in records):
            await self._watch.save()

    async def _report_gaps(self) -> None:
        """Make records about dropped records, once the back end answers (R103)."""
        while True:
            await self._delivery.working.wait()
            if self._recorder.empty:  # else a report may still be on its way
                for gap in await self._outbox.gaps():
                    data: dict[str, str | int | float | bool | None] = {
                        "priority": gap.priority.name.lower(),
                        "records": gap.count,
                        "first_ms": gap.first_ms,
                        "last_ms": gap.last_ms,
                    }
                    event = LocalEvent("gateway", DROPPED, gap.last_ms, data)
                    self._recorder.add(self._batcher.event(event, self._clock.utc_ms()), gap)
            await asyncio.sleep(GAPS_S)

    def _read(self) -> "GatewayReading":
        from v2g_gateway.metrics import GatewayReading

        return GatewayReading(
            utc_ms=self._clock.utc_ms(),
            stored=self._delivery.stored,
            dropped=self._outbox.dropped,
            outbox_bytes=self._outbox.size,
            outbox_capacity_bytes=self._config.max_outbox_bytes,
            delivering=self._delivery.working.is_set() or not self._outbox.size,
            on_fallback=self._on_fallback,
            frames=self._frames(),
            bus_faults=self._bus_faults,
            absent=self._mapping.absent,
        )

    def _frames(self) -> dict[str, int]:
        """Return what became of CAN frames."""
        return {
            "known": self._filter.frames,
            "unknown": self._mapping.unknown_ids.total(),
            "malformed": self._mapping.malformed.total(),
            "repeated": self._filter.repeated,
            "outlier": self._filter.outliers.total(),
        }

    async def _renew_keys(self) -> None:
        """Use renewed certificates and keys of the outbox; unusable ones are reported, and the former stay (R152)."""
        while True:
            await asyncio.sleep(POLL_S)
            if self._uplink is not None:
                self._uplink.poll()
            try:
                if await self._outbox.renew_keys():
                    self._observe(Observe("telemetry", "outbox_keys_renewed", {}))
            except V2GError as error:
                self._observe(Observe("telemetry", "outbox_keys_kept", {"error": str(error)}))

    async def _deliver(self) -> None:
        """Deliver over the first uplink, and over the fallback while no back end answers over the first."""
        fallback = self._config.fallback
        while True:
            if self._uplink is None:
                self._uplink = self._make_uplink(self._config)
                self._uplink.start()
            await self._delivery.run(self._uplink, patience_s=math.inf if fallback is None else fallback.after_s)
            assert fallback is not None
            await self._close_uplink()
            self._uplink = self._make_uplink(fallback)
            self._uplink.start()
            self._on_fallback = True
            self._observe(Observe("telemetry", "fallback_began", {"class": fallback.class_}))
            try:
                tasks = [child(each) for each in (self._delivery.run(self._uplink), self._first_again(fallback.back_s))]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await cancel_tasks(*tasks)
                for task in tasks:
                    if not task.cancelled():
                        task.result()
            finally:
                self._on_fallback = False
                await self._close_uplink()
            self._observe(Observe("telemetry", "fallback_ended", {}))

    def _make_uplink(self, which: GatewayConfig | FallbackConfig, on_marks: OnMarks | None = None) -> Uplink:
        return make_uplink(self._config, which, self._outbox.boot, on_marks or self._delivery.on_marks, self._observe)

    async def _close_uplink(self) -> None:
        uplink, self._uplink = self._uplink, None
        if uplink is not None:
            await uplink.close()

    async def _first_again(self, back_s: float) -> None:
        """Return when the first uplink's back end has answered several times in a row."""
        interval_s, answers = back_s / RETURN_ANSWERS, 0
        backoff = Backoff(interval_s, max(interval_s, ASK_S))
        while answers < RETURN_ANSWERS:
            await asyncio.sleep(backoff.pause_s() if answers == 0 else interval_s)
            if await self._first_answers():
                answers += 1
                backoff.reset()
            else:
                answers = 0

    async def _update(self, follower: "Follower", every_s: float) -> None:
        """Settle what was tried, tell the back end what is installed, and look for releases."""
        await follower.settle(self._problem)
        self._observe(event := follower.installed())
        utc_ms = self._clock.utc_ms()
        report = reported("gateway", event.stage, event.name, utc_ms, event.data)
        assert report is not None
        self._recorder.add(self._batcher.event(report, utc_ms))
        while True:
            await follower.look()
            await asyncio.sleep(every_s)

    async def _problem(self) -> str:
        """Return why new firmware does not work: the back end does not answer now."""
        works = self._delivery.working.is_set() or await self._first_answers()
        return "" if works else "the back end does not answer"

    async def _first_answers(self) -> bool:
        """Ask over the first uplink, connected for this question only: both may reach the same broker, which keeps one
        connection of a vehicle."""
        answered = asyncio.Event()
        try:
            probe = self._make_uplink(self._config, lambda _: answered.set())
        except TransportError:  # a certificate that cannot be used now
            return False
        probe.start()
        try:
            async with asyncio.timeout(ANSWER_S):
                await probe.ready()
                await probe.send(self._delivery.question())
                await answered.wait()
        except (TimeoutError, TransportError):
            return False
        finally:
            await probe.close()
        return True

    async def close(self, drain: float = 3.0) -> None:
        """Stop reading, deliver waiting records for at most `drain` seconds, and leave the rest to the next boot."""
        await self._intake.close()
        try:
            while (report := self._next_report()) is not None:
                self._recorder.add(report)
            if (record := self._batcher.flush(math.inf)) is not None:  # all changes, due or not
                self._recorder.add(record)
            await self._recorder.commit()
        except StoreError as error:
            self._observe(Observe("telemetry", "record_lost", {"reason": str(error)}))
        await wait_at_most(drain, self._delivery.drain())
        await self._outflow.close()
        await self._close_uplink()
        data = {
            "stored": self._delivery.stored,
            "waiting": await self._outbox.count(),
            "dropped": self._outbox.dropped,
            "frames": self._filter.frames,
            "unknown_frames": self._mapping.unknown_ids.total(),
            "malformed_frames": self._mapping.malformed.total(),
            "repeated_frames": self._filter.repeated,
            "outliers": self._filter.outliers.total(),
            "absent_values": self._mapping.absent.total(),
        }
        self._observe(Observe("telemetry", "stopped", dict(data)))
        await self._stack.aclose()
