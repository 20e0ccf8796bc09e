"""The telemetry gateway: CAN frames in, durable records out, over MQTT 5 or HTTPS.

Frames become signals (`v2g.telemetry.mapping`), signals become delta records (`v2g.telemetry.batch`), and records stay
in the outbox until the back end has stored them. Losing the uplink loses no data and disturbs nothing else (R167).
"""

import asyncio
import contextlib
import math
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec import UNSET

from v2g.energy.settlement.checkpoints import Copy
from v2g.errors import ConfigError, StoreError, TransportError, V2GError
from v2g.hardware.power_modules.can_errors import CanFault
from v2g.io.can import CanPort
from v2g.io.can_link import complaints, read_link
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.supervision import Supervisor, child
from v2g.io.storage.outbox import Outbox
from v2g.io.storage.record_keys import RecordKeys
from v2g.io.tls.renewal import POLL_S
from v2g.observe import Observe, Scalar
from v2g.pki.keys import read_secret, save_secret
from v2g.telemetry.batch import Batcher
from v2g.telemetry.cells import BalanceWatch, CellWindows, with_imbalance
from v2g.telemetry.columns import encode_compact
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.filters import GlitchFilter
from v2g.telemetry.local_events import DROPPED, LocalEvent
from v2g.telemetry.mapping import CanMapping, normalised
from v2g.telemetry.priority import Prioritiser
from v2g.telemetry.privacy import PositionBlur
from v2g.telemetry.registry import registered, shipped
from v2g.telemetry.signals import TAGGED_SCHEMA, Record
from v2g.telemetry.simulated_battery import BATTERY_SIGNALS, battery_dbc
from v2g_gateway.config import FallbackConfig, GatewayConfig
from v2g_gateway.consent import ConsentSource
from v2g_gateway.delivery import Delivery
from v2g_gateway.local_source import LocalSource
from v2g_gateway.recorder import Recorder
from v2g_gateway.taken import TakenCheckpoints
from v2g_gateway.uplink import HttpsUplink, MqttUplink, Observer, OnMarks, Uplink

GATHER_S: Final = 0.005
"""Frames of a busy bus are decoded together at this interval: waking the event loop for each costs more than it."""

MAX_LOCAL: Final = 200
"""Reports of local programs that wait for the outbox."""

DROPS_TOLD_S: Final = 60.0
"""Minimum interval of events about a full outbox."""


FIRST_AGAIN_S: Final = 5.0
"""Interval of attempts to return to the first uplink."""

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
        return bytes.fromhex(read_secret(path).decode("ascii"))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint="is the folder writable, and the disk not full?") from None
    except ValueError:
        raise ConfigError(f"{path} is no key of positions", hint="delete it: a new one is made") from None


class Gateway:
    """Runs from `open` to `close`, in tasks that restart after a failure: `telemetry bus` receives CAN frames,
    `telemetry changes` makes due records, `telemetry records` brings them into the outbox, `telemetry delivery` sends
    them to the back end, `telemetry gaps` reports dropped ones, `telemetry keys` renews certificates and keys."""

    def __init__(
        self,
        config: GatewayConfig,
        clock: Clock,
        observe: Callable[[Observe], None],
        outbox: Outbox,
        taken: TakenCheckpoints,
        places: bytes,
    ) -> None:
        """Called by `open`. `places` is the key of blurred positions."""
        self._config, self._clock, self._observe, self._outbox = config, clock, observe, outbox
        dbc = config.dbc.read_text() if config.dbc is not None else battery_dbc()
        self._mapping = CanMapping(dbc, config.signals or BATTERY_SIGNALS)
        self._filter, self._cells, self._balance = GlitchFilter(), CellWindows(), BalanceWatch()
        self._batcher = Batcher(config.ev, outbox.boot, bands=config.rates, keyframe_s=config.keyframe_s)
        encode = encode_compact if config.encoding == "columns" else encode_delivery
        self._delivery = Delivery(config.ev, outbox, observe, encode=encode, interval_s=config.uplink_interval)
        self._taken = taken
        self._local: deque[Copy | LocalEvent] = deque()
        """Reports of local programs. A program whose reports find no room is read later: it keeps its checkpoints."""
        self._room = asyncio.Event()
        prioritiser = Prioritiser(config.summary_s)
        self._recorder = Recorder(outbox, prioritiser, on_stored=self._stored, on_boot=self._batcher.begin)
        self._consent = ConsentSource(config.consent, config.consent_file, observe)
        self._blur = PositionBlur(config.position_noise_m, places)
        self._offered = asyncio.Event()
        self._drops_told_at = -math.inf
        self._uplink = make_uplink(config, config, outbox.boot, self._delivery.on_marks, observe)
        self._uplinks = [self._uplink]
        self._port: CanPort | None = None
        self._intake, self._outflow = Supervisor(observe), Supervisor(observe)
        self._stack = contextlib.AsyncExitStack()

    @classmethod
    async def open(cls, config: GatewayConfig, clock: Clock, observe: Callable[[Observe], None]) -> "Gateway":
        """Open outbox, bus and uplink, and start. Raises ConfigError, StoreError, TransportError."""
        folder = config.schemas or shipped()
        known = await asyncio.to_thread(registered, folder)
        async with contextlib.AsyncExitStack() as stack:
            box = await Outbox.open(
                config.outbox,
                config.ev,
                clock.utc_ms() // 1000,
                max_bytes=config.max_outbox_bytes,
                keys=RecordKeys.read(config.outbox_keys),
                observe=observe,
            )
            stack.push_async_callback(box.close)
            disk = DiskThread()
            stack.push_async_callback(disk.close)
            taken = await TakenCheckpoints.open(config.outbox.with_suffix(".checkpoints"), disk)
            places = await disk.ask(lambda: place_key(config.outbox.with_suffix(".places")))
            gateway = cls(config, clock, observe, box, taken, places)
            await gateway._consent.changed()
            gateway._port = await gateway._attach()
            gateway._stack = stack.pop_all()
        gateway._begin()
        if TAGGED_SCHEMA not in known:
            observe(Observe("telemetry", "schema_unregistered", {"schema": TAGGED_SCHEMA, "folder": str(folder)}))
        return gateway

    def _begin(self) -> None:
        self._uplink.start()
        self._intake.keep("telemetry bus", self._listen)
        self._intake.keep("telemetry changes", self._record)
        self._intake.keep("telemetry records", self._recorder.run)
        for path in self._config.event_sockets:
            self._intake.keep(f"telemetry source {path.name}", LocalSource(path, self._take, self._observe).run)
        self._intake.keep("telemetry gaps", self._report_gaps)
        self._intake.keep("telemetry keys", self._renew_keys)
        self._outflow.keep("telemetry delivery", self._deliver)
        data: dict[str, Scalar] = {"transport": self._uplink.name, "boot": self._outbox.boot}
        self._observe(Observe("telemetry", "started", data))

    async def _attach(self) -> CanPort:
        can = self._config.can
        if can.interface == "socketcan":
            with contextlib.suppress(TransportError):  # opening it says why
                link = await asyncio.to_thread(read_link, can.channel)
                for what, hint in complaints(link, can.bitrate):
                    self._on_fault(CanFault("interface", what, hint))
        return await CanPort.opened(can, self._on_frame, on_fault=self._on_fault, gather_s=GATHER_S)

    def _on_fault(self, fault: CanFault) -> None:
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

    def _on_frame(self, frame_id: int, data: bytes, at_s: float) -> None:
        mapped = self._mapping.decode(frame_id, data)
        if mapped is None or self._filter.is_repeated(frame_id, data, at_s):
            return
        windows = self._cells.add(mapped.cells, at_s * 1000) if mapped.cells else {}
        values = with_imbalance(self._filter.valid(mapped.values) | normalised(windows))
        permitted = self._blur.blurred(self._consent.consent.permitted(values))
        self._batcher.offer(permitted, self._clock.monotonic(), self._clock.utc_ms(), mapped.context)
        self._offered.set()
        imbalance = self._balance.changed(values)
        if imbalance is not None:
            facts: dict[str, Scalar] = {"mv": round(imbalance * 1000), "context": self._batcher.context}
            self._observe(
                Observe("telemetry", "cells_imbalanced" if self._balance.imbalanced else "cells_balanced", facts)
            )

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
            deadline = self._batcher.deadline()
            wait = None if deadline is None else max(0.0, deadline - self._clock.monotonic())
            if wait == 0.0 and await self._consent.changed():
                self._batcher.keep_only(self._consent.consent.covers)
            record = self._next_report() or self._batcher.flush(self._clock.monotonic())
            if record is not None:
                self._recorder.add(record)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._offered.wait()
            self._offered.clear()

    async def _stored(self, records: Sequence[Record], dropped: int) -> None:
        self._delivery.wake()  # first: a file that cannot be written delays no delivery
        now = self._clock.monotonic()
        if dropped and now >= self._drops_told_at + DROPS_TOLD_S:
            self._drops_told_at = now
            self._observe(Observe("telemetry", "records_dropped", {"dropped": self._outbox.dropped}))
        for each in records:
            if each.checkpoint is not UNSET:
                await self._taken.add(each.checkpoint)

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

    async def _renew_keys(self) -> None:
        """Use renewed certificates and keys of the outbox; unusable ones are reported, and the former stay (R152)."""
        while True:
            await asyncio.sleep(POLL_S)
            for each in self._uplinks:
                each.poll()
            try:
                if await self._outbox.renew_keys():
                    self._observe(Observe("telemetry", "outbox_keys_renewed", {}))
            except V2GError as error:
                self._observe(Observe("telemetry", "outbox_keys_kept", {"error": str(error)}))

    async def _deliver(self) -> None:
        """Deliver over the first uplink, and over the fallback while that one fails."""
        fallback = self._config.fallback
        if fallback is None:
            await self._delivery.run(self._uplink)
            return
        while True:
            await self._delivery.run(self._uplink, patience_s=fallback.after_s)
            second = make_uplink(self._config, fallback, self._outbox.boot, self._delivery.on_marks, self._observe)
            self._uplinks = [self._uplink, second]
            second.start()
            self._observe(Observe("telemetry", "fallback_began", {"class": fallback.class_}))
            try:
                tasks = [child(each) for each in (self._delivery.run(second), self._first_again())]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                for task in tasks:
                    if not task.cancelled():
                        task.result()
            finally:
                self._uplinks = [self._uplink]
                await second.close()
            self._observe(Observe("telemetry", "fallback_ended", {}))

    async def _first_again(self) -> None:
        """Return when the first uplink can send."""
        while True:
            with contextlib.suppress(TransportError):
                return await self._uplink.ready()
            await asyncio.sleep(FIRST_AGAIN_S)

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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain):
                await self._delivery.drain()
        await self._outflow.close()
        await self._uplink.close()
        data = {
            "stored": self._delivery.stored,
            "waiting": await self._outbox.count(),
            "dropped": self._outbox.dropped,
            "frames": self._filter.frames,
            "unknown_frames": self._mapping.unknown_ids.total(),
            "malformed_frames": self._mapping.malformed.total(),
            "repeated_frames": self._filter.repeated,
            "outliers": self._filter.outliers.total(),
        }
        self._observe(Observe("telemetry", "stopped", dict(data)))
        await self._stack.aclose()
