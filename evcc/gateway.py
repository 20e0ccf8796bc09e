"""The vehicle's telemetry gateway: CAN frames in, durable records out, over MQTT 5 or HTTPS.

Frames become signals (`v2g.telemetry.mapping`), signals become delta records (`v2g.telemetry.batch`), records wait in
the outbox until the broker or the back end has them. Losing the uplink loses nothing and disturbs nobody (R167).
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from evcc.ecu import battery_dbc
from v2g.errors import ConfigError, TransportError
from v2g.net.can import CanConfig, CanPort
from v2g.net.clock import Clock
from v2g.net.mqtt_config import MqttConfig
from v2g.net.outbox import Outbox
from v2g.observe import Observe
from v2g.telemetry.batch import Batcher
from v2g.telemetry.mapping import CanMapping
from v2g.telemetry.signals import encode_record

TOPIC = "v2g/telemetry/stream"

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
    "BMS_Energy.EnergyCharged": "battery.energy.charged",
    "BMS_Energy.EnergyDischarged": "battery.energy.discharged",
    "VCU_Status.DriveCycle": "context",
    "VCU_Status.ContactorClosed": "vehicle.contactor",
    "VCU_Status.PowerRequest": "vehicle.power_request",
}


class HttpUplink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where records go over HTTPS: `POST url`, TLS 1.3, own certificate where the back end asks for one."""

    url: Annotated[str, Meta(pattern="^https://", description="the back end's /telemetry")]
    ca: Annotated[Path, Meta(description="PEM file of the back end's root")]
    chain: Annotated[Path | None, Meta(description="PEM file of the gateway's certificate chain")] = None
    key: Annotated[Path | None, Meta(description="PEM file of the gateway's private key, mode 0600")] = None
    token: Annotated[str, Meta(description="bearer token, when the back end uses one")] = ""


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[telemetry]` section of the evcc configuration."""

    ev: Annotated[str, Meta(min_length=1, max_length=64, description="pseudonym of the vehicle, never its VIN")]
    outbox: Annotated[Path, Meta(description="SQLite file that keeps records until they are acknowledged")]
    mqtt: Annotated[MqttConfig | None, Meta(description="MQTT 5 broker; preferred over http")] = None
    http: Annotated[HttpUplink | None, Meta(description="HTTPS fall-back, used when there is no mqtt section")] = None
    topic: Annotated[str, Meta(description="MQTT topic of the records")] = TOPIC
    can: Annotated[CanConfig, Meta(description="the battery's CAN bus")] = CanConfig()
    dbc: Annotated[Path | None, Meta(description="CAN database; the simulated battery's when absent")] = None
    signals: Annotated[dict[str, str], Meta(description="Message.Signal of the DBC to signal name")] = {}
    min_interval: Annotated[float, Meta(ge=0, description="s between two records at least")] = 0.1
    max_outbox_bytes: Annotated[int, Meta(ge=65536, description="oldest records go beyond this")] = 1 << 30


class Uplink(Protocol):
    """A way out. `send` returns when the far side has taken responsibility for every record."""

    name: str

    async def send(self, bodies: Sequence[bytes]) -> None:
        """Deliver records. Raises TransportError; then any of them may or may not have arrived."""

    async def close(self) -> None:
        """Release the connection."""


class MqttUplink:
    """Records as MQTT 5 messages, QoS 1."""

    name = "mqtt"

    def __init__(self, config: MqttConfig, topic: str) -> None:
        from v2g.net.mqtt import MqttClient  # 11 ms to import: only a vehicle with a broker pays

        self._topic = topic
        self._client = MqttClient(config)
        self._client.start()

    async def send(self, bodies: Sequence[bytes]) -> None:
        """Publish all, then wait for every PUBACK."""
        await asyncio.gather(*(self._client.publish(self._topic, body) for body in bodies))

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()


class HttpsUplink:
    """Records as one JSON array a request."""

    name = "http"

    def __init__(self, config: HttpUplink) -> None:
        import ssl

        self._config = config
        self._context = ssl.create_default_context(cafile=str(config.ca))
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        if config.chain is not None:
            self._context.load_cert_chain(config.chain, config.key)

    async def send(self, bodies: Sequence[bytes]) -> None:
        """POST the records; 2xx means stored."""
        await asyncio.to_thread(self._post, b"[" + b",".join(bodies) + b"]")

    def _post(self, body: bytes) -> None:
        import urllib.error
        import urllib.request

        headers = {"Content-Type": "application/json"}
        if self._config.token:
            headers["Authorization"] = f"Bearer {self._config.token}"
        # the pattern of HttpUplink.url admits https only
        request = urllib.request.Request(self._config.url, data=body, headers=headers, method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._context) as answer:  # noqa: S310
                answer.read()
        except (OSError, urllib.error.URLError) as error:
            raise TransportError(f"{self._config.url}: {error}") from None

    async def close(self) -> None:
        """Nothing to release: connections end with each request."""


def make_uplink(config: GatewayConfig) -> Uplink:
    """Return the configured way out. Raises ConfigError when there is none."""
    if config.mqtt is not None:
        return MqttUplink(config.mqtt, config.topic)
    if config.http is not None:
        return HttpsUplink(config.http)
    raise ConfigError("telemetry has neither an mqtt nor an http section", hint="add [telemetry.mqtt] with host and ca")


class Gateway:
    """Runs from `start` to `close`; `close` gives what still waits one last chance of `drain` seconds."""

    def __init__(self, config: GatewayConfig, clock: Clock, observe: Callable[[Observe], None]) -> None:
        self._config, self._clock, self._observe = config, clock, observe
        dbc = config.dbc.read_text() if config.dbc is not None else battery_dbc()
        self._mapping = CanMapping(dbc, config.signals or BATTERY_SIGNALS)
        self._outbox = Outbox(config.outbox, max_bytes=config.max_outbox_bytes)
        self._batcher = Batcher(config.ev, self._outbox.boot, min_interval=config.min_interval)
        self._work, self._stored = asyncio.Event(), asyncio.Event()
        self._uplink: Uplink | None = None
        self._port: CanPort | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()
        self.sent = 0

    def start(self) -> None:
        """Attach to the bus and begin. Raises ConfigError or TransportError when bus or uplink cannot be set up."""
        self._uplink = make_uplink(self._config)
        self._port = CanPort(self._config.can, self._on_frame)
        self._tasks = [asyncio.create_task(self._batch()), asyncio.create_task(self._send(self._uplink))]
        self._stored.set()  # records of an earlier boot may wait
        self._observe(Observe("telemetry", "started", {"transport": self._uplink.name, "boot": self._outbox.boot}))

    def _on_frame(self, frame_id: int, data: bytes) -> None:
        mapped = self._mapping.decode(frame_id, data)
        if mapped is not None:
            now = self._clock.monotonic()
            self._batcher.offer(mapped.values, now, self._clock.utc_ms(), mapped.context)
            self._work.set()

    async def _batch(self) -> None:
        """Flush records when they are due."""
        while True:
            deadline = self._batcher.deadline()
            wait = None if deadline is None else max(0.0, deadline - self._clock.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._work.wait()
            self._work.clear()
            self._flush(self._clock.monotonic())

    def _flush(self, now: float) -> None:
        record = self._batcher.flush(now)
        if record is not None:
            self._outbox.put(record.seq, encode_record(record))
            self._idle.clear()
            self._stored.set()

    async def _send(self, uplink: Uplink) -> None:
        """Move records from the outbox to the uplink, oldest first, with back-off while it fails."""
        delay = 0.5
        while True:
            await self._stored.wait()
            self._stored.clear()
            while records := self._outbox.pending():
                try:
                    await uplink.send([body for _, _, body in records])
                except TransportError as error:
                    logging.getLogger(__name__).warning("telemetry waits: %s", error)
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 30.0)
                    continue
                delay = 0.5
                self._outbox.acknowledge([(boot, seq) for boot, seq, _ in records])
                self.sent += len(records)
            self._idle.set()

    async def close(self, drain: float = 3.0) -> None:
        """Stop reading, send what waits for at most `drain` seconds, keep the rest for the next boot."""
        if self._port is not None:
            await self._port.close()
        self._flush(math.inf)  # whatever changed, due or not
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain):
                await self._idle.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._uplink is not None:
            await self._uplink.close()
        data = {
            "sent": self.sent,
            "waiting": len(self._outbox),
            "dropped": self._outbox.dropped,
            "unknown_frames": self._mapping.unknown_ids.total(),
            "malformed_frames": self._mapping.malformed.total(),
        }
        self._observe(Observe("telemetry", "stopped", dict(data)))
        self._outbox.close()
