"""Sources of values beside the CAN bus (R211, R212): each is followed, and opened again when it is gone.

A source is an entry of `SOURCES`: it gives fixes of positions, or mapped values.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from v2g.config import Port
from v2g.errors import TransportError
from v2g.io.mqtt.config import MqttConfig, TopicPrefix
from v2g.io.runtime.supervision import Backoff
from v2g.io.serial_port import SerialPort
from v2g.observe import Observe, Scalar
from v2g.telemetry.gnss import GPSD_WATCH, Fix, FixReader
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.ovms import OvmsMetrics

LONGEST_PAUSE_S: Final = 10.0
CONNECT_S: Final = 10.0
_READ: Final = 4096
_PORTS: Final = {"gpsd": 2947, "nmea": 10110}


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A receiver of satellites (gpsd, or sentences of NMEA 0183 over TCP or from a serial port), or the metrics of an
    OVMS module (v3) at an MQTT broker."""

    kind: Annotated[Literal["gpsd", "nmea", "ovms"], Meta(description="what it speaks")]
    host: Annotated[str, Meta(description="host, unless it is a serial port")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="TCP port; 0: 2947 of gpsd, 10110 of NMEA")] = 0
    device: Annotated[str, Meta(description="serial port of NMEA, such as /dev/ttyUSB0")] = ""
    baud_rate: Annotated[int, Meta(ge=300, le=1_000_000, description="its speed, bit/s")] = 9600
    lost_s: Annotated[
        float, Meta(ge=1, le=600, description="time without a fix after which there is no position, s")
    ] = 5.0
    mqtt: Annotated[MqttConfig | None, Meta(description="broker of OVMS")] = None
    topic: Annotated[TopicPrefix, Meta(description="topic of OVMS before /metric, such as ovms/USER/VEHICLE")] = "ovms"

    def __post_init__(self) -> None:
        """Reject what does not belong together."""
        if self.device and self.kind != "nmea":
            raise ValueError('device is for kind = "nmea": gpsd has its own')
        if (self.kind == "ovms") != (self.mqtt is not None):
            raise ValueError('kind = "ovms" needs an mqtt section, and no other kind has one')

    @property
    def place(self) -> str:
        """Where it is, as events name it."""
        if self.mqtt is not None:
            return f"ovms {self.topic}"
        return f"{self.kind} {self.device or f'{self.host}:{self.port or _PORTS[self.kind]}'}"


class ValueSource(Protocol):
    """What is followed until cancelled."""

    async def run(self) -> None:
        """Follow it."""


class FixSource:
    """Follows one receiver."""

    def __init__(self, config: SourceConfig, on_fix: Callable[[Fix], None], observe: Callable[[Observe], None]) -> None:
        self._config, self._on_fix, self._observe = config, on_fix, observe
        self._backoff = Backoff(0.5, LONGEST_PAUSE_S)
        self._reported = ""

    async def run(self) -> None:
        """Read until cancelled. Why a receiver is absent is reported once."""
        while True:
            try:
                await (self._over_serial() if self._config.device else self._over_tcp())
                reason = "it has ended the connection"
            except (OSError, TransportError) as error:
                reason = str(error) or "no answer"
            if reason != self._reported:
                self._observe(Observe("telemetry", "source_lost", {"source": self._config.place, "reason": reason}))
            self._reported = reason
            await asyncio.sleep(self._backoff.pause_s())

    async def _over_tcp(self) -> None:
        config = self._config
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(config.host, config.port or _PORTS[config.kind])
        try:
            if config.kind == "gpsd":
                writer.write(GPSD_WATCH)
            self._connected()
            fixes = FixReader("gpsd" if config.kind == "gpsd" else "nmea")
            while data := await reader.read(_READ):
                self._take(fixes, data)
        finally:
            writer.close()

    async def _over_serial(self) -> None:
        gone = asyncio.Event()
        take = partial(self._take, FixReader("nmea"))
        port = SerialPort(self._config.device, self._config.baud_rate, on_data=take, on_gone=gone.set)
        try:
            self._connected()
            await gone.wait()
        finally:
            port.close()

    def _connected(self) -> None:
        self._observe(Observe("telemetry", "source_connected", {"source": self._config.place}))
        self._backoff.reset()
        self._reported = ""

    def _take(self, reader: FixReader, data: bytes) -> None:
        for fix in reader.receive(data):
            self._on_fix(fix)


class OvmsSource:
    """Follows the metrics of one OVMS module. It publishes nothing."""

    def __init__(
        self, config: SourceConfig, take: Callable[[Mapped], None], observe: Callable[[Observe], None]
    ) -> None:
        self._config, self._take, self._observe = config, take, observe
        self._before, self._metrics = f"{config.topic}/metric/", OvmsMetrics()

    async def run(self) -> None:
        """Take metrics until cancelled. Raises TransportError for unusable files."""
        from v2g.io.mqtt.client import MqttClient  # only a vehicle with this source pays for loading it

        assert self._config.mqtt is not None
        client = MqttClient(
            self._config.mqtt, client_id="v2g-gateway-ovms", on_message=self._received, on_connection=self._connection
        )
        client.subscribe(self._before + "#")
        client.start()
        try:
            await asyncio.Event().wait()
        finally:
            await client.close()

    def _connection(self, connected: bool) -> None:
        if connected:
            self._observe(Observe("telemetry", "source_connected", {"source": self._config.place}))
        else:
            facts: dict[str, Scalar] = {"source": self._config.place, "reason": "no connection to the broker"}
            self._observe(Observe("telemetry", "source_lost", facts))

    def _received(self, topic: str, payload: bytes) -> None:
        mapped = self._metrics.receive(topic.removeprefix(self._before).replace("/", "."), payload)
        if mapped is not None:
            self._take(mapped)


OnFix = Callable[[Fix], None]
OnMapped = Callable[[Mapped], None]
Observer = Callable[[Observe], None]

SOURCES: Final[Mapping[str, Callable[[SourceConfig, OnFix, OnMapped, Observer], ValueSource]]] = {
    "gpsd": lambda config, on_fix, _, observe: FixSource(config, on_fix, observe),
    "nmea": lambda config, on_fix, _, observe: FixSource(config, on_fix, observe),
    "ovms": lambda config, _, on_mapped, observe: OvmsSource(config, on_mapped, observe),
}
"""The sources by their kinds. Another one is a kind of `SourceConfig` and an entry here."""
