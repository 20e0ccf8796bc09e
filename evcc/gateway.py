"""The vehicle's telemetry gateway: CAN frames in, durable records out, over MQTT 5 or HTTPS.

Frames become signals (`v2g.telemetry.mapping`), signals become delta records (`v2g.telemetry.batch`), and records stay
in the outbox until the back end has stored them. Losing the uplink loses no data and disturbs nothing else (R167).
"""

import asyncio
import contextlib
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from evcc.hardware.ecu import battery_dbc
from evcc.uplink import HttpConfig, HttpsUplink, MqttUplink, OnMarks, Uplink
from v2g.energy.settlement.checkpoints import Copy
from v2g.errors import CodecError, ConfigError, StoreError, TransportError
from v2g.hardware.can_errors import CanFault
from v2g.io.can import CanConfig, CanPort
from v2g.io.can_link import complaints, read_link
from v2g.io.mqtt.config import MqttConfig, TopicPrefix
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import Backoff, Supervisor
from v2g.io.storage.outbox import BEGINNING, Outbox, Row
from v2g.observe import Observe, Scalar
from v2g.telemetry.batch import Batcher
from v2g.telemetry.cells import BalanceWatch, CellWindows, with_imbalance
from v2g.telemetry.delivery import MAX_BATCH, TOPIC_PREFIX, Mark, Notice, encode_delivery, encode_notice
from v2g.telemetry.filters import GlitchFilter
from v2g.telemetry.mapping import CanMapping, normalised
from v2g.telemetry.signals import Pseudonym, Record, decode_key, encode_record

ANSWER_S: Final = 5.0
"""Timeout of the back end's answer about which records have arrived."""

STALL_S: Final = 5.0
"""After so long without progress the back end is asked again."""

LAST_PAUSE_S: Final = 0.2
"""Retry interval while the gateway shuts down."""

FIRST_WINDOW: Final = 100
LARGEST_WINDOW: Final = 4000
"""Records in flight: at first, and once the back end has kept up."""

NOTICE_BYTES: Final = 256
"""Maximum size of a notice in a delivery, octets."""

GATHER_S: Final = 0.005
"""Frames of a busy bus are decoded together at this interval: waking the event loop for each costs more than it."""

DROPS_TOLD_S: Final = 60.0
"""Minimum interval of events about a full outbox."""

BATTERY_SIGNALS: dict[str, str] = {
    "BMS_Pack.PackVoltage": "battery.voltage",
    "BMS_Pack.PackCurrent": "battery.current",
    "BMS_Pack.StateOfCharge": "battery.soc",
    "BMS_Pack.StateOfHealth": "battery.soh",
    "BMS_Temperature.CellTemperatureMin": "battery.temperature.min",
    "BMS_Temperature.CellTemperatureMax": "battery.temperature.max",
    "BMS_Temperature.CoolantTemperature": "battery.temperature.coolant",
    "BMS_Cells.CellVoltageMin": "battery.cell_voltage.min",
    "BMS_Cells.CellVoltageMax": "battery.cell_voltage.max",
    "BMS_Cells.CellVoltageMean": "battery.cell_voltage.mean",
    "BMS_Energy.EnergyCharged": "battery.energy.charged",
    "BMS_Energy.EnergyDischarged": "battery.energy.discharged",
    "BMS_Power.PackPower": "battery.power",
    "OBC_Grid.GridFrequency": "grid.frequency",
    "OBC_Charging.ChargingPower": "charging.power",
    "VCU_Drive.MotorSpeed": "motor.speed",
    "VCU_Drive.AmbientTemperature": "ambient.temperature",
    "VCU_Status.DriveCycle": "context",
    "VCU_Status.ContactorClosed": "vehicle.contactor",
    "VCU_Status.PowerRequest": "vehicle.power_request",
}


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[telemetry]` section of the evcc configuration."""

    ev: Annotated[Pseudonym, Meta(description="pseudonym of the vehicle (never its VIN): CN of its certificate")]
    outbox: Annotated[Path, Meta(description="SQLite file with the records that the back end has not stored yet")]
    mqtt: Annotated[MqttConfig | None, Meta(description="MQTT 5 broker; preferred over http")] = None
    http: Annotated[HttpConfig | None, Meta(description="HTTPS fall-back, used if there is no mqtt section")] = None
    prefix: Annotated[TopicPrefix, Meta(description="beginning of the MQTT topics")] = TOPIC_PREFIX
    can: Annotated[CanConfig, Meta(description="the battery's CAN bus")] = CanConfig()
    dbc: Annotated[Path | None, Meta(description="CAN database; default: that of the simulated battery")] = None
    signals: Annotated[dict[str, str], Meta(description="Message.Signal of the DBC to signal name")] = {}
    min_interval: Annotated[float, Meta(ge=0, description="minimum interval of records, s")] = 0.1
    max_outbox_bytes: Annotated[int, Meta(ge=65536, description="maximum size, bytes; older records are deleted")] = (
        1 << 30
    )


def make_uplink(config: GatewayConfig, on_marks: OnMarks) -> Uplink:
    """Return the configured uplink. Raises ConfigError if there is none, TransportError for unusable files."""
    if config.mqtt is not None:
        return MqttUplink(config.mqtt, config.prefix, config.ev, on_marks)
    if config.http is not None:
        return HttpsUplink(config.http, on_marks)
    raise ConfigError("telemetry has neither an mqtt nor an http section", hint="add [telemetry.mqtt] with host and ca")


class Delivery:
    """Sends the outbox to the back end, following its high-water marks (R98).

    It asks which records have arrived, sends the later ones, and deletes those covered by a mark; a broker's
    acknowledgements do not count. Without progress it asks again at growing intervals, so that only short questions are
    sent in vain while the back end is away.
    """

    def __init__(self, ev: str, outbox: Outbox, observe: Callable[[Observe], None]) -> None:
        self._ev, self._outbox, self._observe = ev, outbox, observe
        self._news, self._empty, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._received: dict[int, Mark] = {}
        self._expected: dict[int, int] = {}
        """By boot: the next number that the back end expects, if known. Earlier records are not missing."""
        self._problem: str | None = None
        self.stored = 0
        """Records that the back end has stored since the start."""

    def on_marks(self, marks: Sequence[Mark]) -> None:
        """Handle the back end's marks."""
        self._received |= {mark.boot: mark for mark in marks}
        self._news.set()

    def wake(self) -> None:
        """A record was added to the outbox."""
        self._empty.clear()
        self._news.set()

    async def drain(self) -> None:
        """Return when the back end has everything; from now on retries come soon."""
        self._closing.set()
        await self._empty.wait()

    async def run(self, uplink: Uplink) -> None:
        """Deliver until cancelled. Raises StoreError."""
        backoff = Backoff(1.0, 60.0)
        while True:
            try:
                await self._something_to_do()
                await self._ready(uplink)
                await self._resume(uplink)
                self._tell("")
                await self._send(uplink, backoff)
            except TransportError as error:
                self._tell(str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.pause_s() * random.uniform(0.5, 1.0)):  # noqa: S311 - not all at once
                    await self._closing.wait()
                    await asyncio.sleep(LAST_PAUSE_S)

    def _tell(self, problem: str) -> None:
        """Report a change: why delivery fails, or that it works again."""
        if problem and problem != self._problem:
            self._observe(Observe("telemetry", "waiting", {"reason": problem}))
        elif not problem and self._problem:
            self._observe(Observe("telemetry", "resumed"))
        self._problem = problem

    async def _something_to_do(self) -> None:
        self._news.clear()
        while not await self._outbox.waiting():
            self._empty.set()
            await self._news.wait()
            self._news.clear()

    async def _ready(self, uplink: Uplink) -> None:
        while True:
            try:
                return await uplink.ready()
            except TransportError as error:
                self._tell(str(error))

    async def _resume(self, uplink: Uplink) -> None:
        """Ask for the back end's mark of each boot, delete what it has, and report records lost from whole boots."""
        waiting = {each.boot: each for each in (await self._outbox.waiting())[:MAX_BATCH]}
        self._received.clear()
        await self._notify(uplink, [Notice(self._ev, boot) for boot in waiting])
        try:
            async with asyncio.timeout(ANSWER_S):
                while not waiting.keys() <= self._received.keys():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TransportError("the back end does not answer") from None
        gone = []
        for boot, left in waiting.items():
            reached = self._received[boot].contiguous
            self._expected[boot] = reached + 1
            if left.first is None and left.dropped > reached:
                gone.append(Notice(self._ev, boot, ((reached + 1, left.dropped),)))
        if gone:
            await self._notify(uplink, gone)

    async def _notify(self, uplink: Uplink, notices: Sequence[Notice]) -> None:
        await uplink.send(encode_delivery(map(encode_notice, notices)))

    async def _send(self, uplink: Uplink, backoff: Backoff) -> None:
        """Send waiting and new records. Raises TransportError: the connection failed, or there is no progress."""
        window, under_way, position = FIRST_WINDOW, 0, BEGINNING
        stalls_at = math.inf
        now = asyncio.get_running_loop().time
        while True:
            self._news.clear()
            received, self._received = self._received, {}
            forgotten = 0
            for mark in received.values():
                done = await self._outbox.confirm(mark.boot, mark.contiguous, position)
                forgotten, under_way = forgotten + done.forgotten, done.before
            if forgotten:
                self.stored += forgotten
                backoff.reset()
                window = min(window * 2, LARGEST_WINDOW)
            if forgotten or not under_way:
                stalls_at = now() + STALL_S if under_way else math.inf
            limit = min(window - under_way, MAX_BATCH - 2)
            rows = await self._outbox.pending(position, limit, uplink.max_bytes - NOTICE_BYTES) if limit > 0 else []
            if rows:
                await uplink.send(self._frame(rows))
                position, under_way = rows[-1].position, under_way + len(rows)
                stalls_at = min(stalls_at, now() + STALL_S)
                continue
            if not under_way:
                self._empty.set()
            try:
                async with asyncio.timeout_at(None if stalls_at == math.inf else stalls_at):
                    await self._news.wait()
            except TimeoutError:
                raise TransportError("the back end stores no records") from None

    def _frame(self, rows: Sequence[Row]) -> bytes:
        """Return a delivery of records of one boot, with notices of missing numbers."""
        boot, elements = rows[0].boot, []
        expected = self._expected.get(boot, 1)

        def skip_to(seq: int) -> None:
            if seq > expected:
                elements.append(encode_notice(Notice(self._ev, boot, ((expected, seq - 1),))))

        for row in rows:
            if self._readable(row):
                skip_to(row.seq)
                elements.append(row.body)
                expected = row.seq + 1
        last = rows[-1].seq + 1
        skip_to(last)
        self._expected[boot] = last
        return encode_delivery(elements)

    def _readable(self, row: Row) -> bool:
        """Return whether a record is as it was put into the outbox: a damaged one must not spoil a delivery."""
        with contextlib.suppress(CodecError):
            key = decode_key(row.body)
            if (key.ev, key.boot, key.seq) == (self._ev, row.boot, row.seq):
                return True
        self._observe(Observe("telemetry", "record_unreadable", {"boot": row.boot, "seq": row.seq}))
        return False


class Gateway:
    """Runs from `open` to `close`, in three tasks that restart after a failure: `telemetry bus` receives CAN frames,
    `telemetry records` adds due records to the outbox, `telemetry delivery` sends them to the back end."""

    def __init__(self, config: GatewayConfig, clock: Clock, observe: Callable[[Observe], None], outbox: Outbox) -> None:
        """Called by `open`."""
        self._config, self._clock, self._observe, self._outbox = config, clock, observe, outbox
        dbc = config.dbc.read_text() if config.dbc is not None else battery_dbc()
        self._mapping = CanMapping(dbc, config.signals or BATTERY_SIGNALS)
        self._filter, self._cells, self._balance = GlitchFilter(), CellWindows(), BalanceWatch()
        self._batcher = Batcher(config.ev, outbox.boot, min_interval=config.min_interval)
        self._delivery = Delivery(config.ev, outbox, observe)
        self._checkpoints: deque[Copy] = deque()
        self._held: Record | None = None
        """The record being added to the outbox. If the disk fails, it is tried again; meanwhile changes are merged into
        the next one."""
        self._offered = asyncio.Event()
        self._drops_told_at = -math.inf
        self._uplink = make_uplink(config, self._delivery.on_marks)
        self._port: CanPort | None = None
        self._intake, self._outflow = Supervisor(observe), Supervisor(observe)

    @classmethod
    async def open(cls, config: GatewayConfig, clock: Clock, observe: Callable[[Observe], None]) -> "Gateway":
        """Open outbox, bus and uplink, and start. Raises ConfigError, StoreError, TransportError."""
        outbox = await Outbox.open(config.outbox, config.ev, clock.utc_ms() // 1000, max_bytes=config.max_outbox_bytes)
        try:
            gateway = cls(config, clock, observe, outbox)
            gateway._port = await gateway._attach()
        except BaseException:
            await outbox.close()
            raise
        gateway._begin()
        return gateway

    def _begin(self) -> None:
        self._uplink.start()
        self._intake.keep("telemetry bus", self._listen)
        self._intake.keep("telemetry records", self._record)
        self._outflow.keep("telemetry delivery", lambda: self._delivery.run(self._uplink))
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
        self._batcher.offer(values, self._clock.monotonic(), self._clock.utc_ms(), mapped.context)
        self._offered.set()
        imbalance = self._balance.changed(values)
        if imbalance is not None:
            facts: dict[str, Scalar] = {"mv": round(imbalance * 1000), "context": self._batcher.context}
            self._observe(
                Observe("telemetry", "cells_imbalanced" if self._balance.imbalanced else "cells_balanced", facts)
            )

    def publish(self, checkpoint: Copy) -> None:
        """Deliver a countersigned checkpoint, at least once, like every record."""
        self._checkpoints.append(checkpoint)
        self._offered.set()

    async def _record(self) -> None:
        """Add due records to the outbox."""
        while True:
            if self._held is None and self._checkpoints:
                self._held = self._batcher.checkpoint(self._checkpoints.popleft(), self._clock.utc_ms())
            if self._held is None:
                deadline = self._batcher.deadline()
                wait = None if deadline is None else max(0.0, deadline - self._clock.monotonic())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._offered.wait()
                self._offered.clear()
                self._held = self._batcher.flush(self._clock.monotonic())
            await self._put_held()

    async def _put_held(self) -> None:
        if self._held is None:
            return
        dropped = await self._outbox.put(self._held.seq, encode_record(self._held))
        self._held = None
        self._delivery.wake()
        now = self._clock.monotonic()
        if dropped and now >= self._drops_told_at + DROPS_TOLD_S:
            self._drops_told_at = now
            self._observe(Observe("telemetry", "records_dropped", {"dropped": self._outbox.dropped}))

    async def close(self, drain: float = 3.0) -> None:
        """Stop reading, deliver waiting records for at most `drain` seconds, and leave the rest to the next boot."""
        await self._intake.close()
        try:
            await self._put_held()
            while self._checkpoints:
                self._held = self._batcher.checkpoint(self._checkpoints.popleft(), self._clock.utc_ms())
                await self._put_held()
            self._held = self._batcher.flush(math.inf)  # all changes, due or not
            await self._put_held()
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
        await self._outbox.close()
