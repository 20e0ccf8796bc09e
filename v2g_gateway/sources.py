"""Sources of values beside the CAN bus (R211, R212): each is followed, and opened again when it is gone.

A source is an entry of `SOURCES`: it gives fixes of positions, or mapped values.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal, NoReturn, Protocol

import msgspec
from msgspec import Meta

from v2g.config import Port
from v2g.dbc import STANDARD_ID
from v2g.errors import CodecError, TransportError
from v2g.extras import extras_named
from v2g.io.can import CanConfig, CanPort
from v2g.io.mqtt.config import MqttConfig, TopicPrefix
from v2g.io.runtime.supervision import Backoff
from v2g.io.serial_port import SerialPort
from v2g.observe import Observe
from v2g.telemetry.gnss import GPSD_WATCH, Fix, FixReader
from v2g.telemetry.j1939 import TruckBus
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.obd import PARAMETERS, PENDING, VIN_REQUESTS, ReadRequest, ReadService, UnitValue, supported, vin_of
from v2g.telemetry.ovms import OvmsMetrics
from v2g.telemetry.tesla import TeslaFields, payload_class

LONGEST_PAUSE_S: Final = 10.0
LONGEST_SILENCE_S: Final = 60.0
"""Longest pause before a control unit that does not answer is asked again: questions may keep a vehicle awake."""
CONNECT_S: Final = 10.0
GATHER_S: Final = 0.005
"""Frames of a busy bus are decoded together at this interval: waking the event loop for each costs more than it."""
MOST_SILENT: Final = 3
ANSWER_S, PENDING_S = 1.0, 5.0
"""Time for an answer, and after an announcement that it follows (P2*)."""
LOOK_S: Final = 1.0
"""Interval of looking what is wrong with a connection to a broker."""
POLL_S: Final = 0.2
MOST_AT_ONCE: Final = 500
OTHER_VEHICLE: Final = "it is another vehicle: its VIN is not the configured one"
_READ: Final = 4096
_PORTS: Final = {"gpsd": 2947, "nmea": 10110}


class ObdConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A control unit that is read by OBD-II and UDS (ISO 15765-4)."""

    request_id: Annotated[
        int,
        Meta(
            ge=0x700,
            le=0x18DAFFF1,
            description="identifier of requests: 0x700 to 0x7F7, or 0x18DAxxF1 of 29 bits; not that of all units",
        ),
    ] = 0x7E0
    response_id: Annotated[
        int, Meta(ge=0, le=0x1FFFFFFF, description="identifier of answers; 0: 8 more, or with both addresses swapped")
    ] = 0
    interval_s: Annotated[float, Meta(ge=0.01, le=3600, description="pause between two readings of all values, s")] = (
        1.0
    )
    values: Annotated[tuple[UnitValue, ...], Meta(max_length=64, description="what the unit tells by UDS besides")] = ()

    def __post_init__(self) -> None:
        """Reject identifiers that other messages may have."""
        of_29_bits = self.request_id & ~0xFF00 == _NORMAL_FIXED
        if not of_29_bits and (not 0x700 <= self.request_id <= 0x7F7 or self.request_id == _TO_ALL):
            raise ValueError("request_id is not of one unit: 0x700 to 0x7F7 without 0x7DF, or 0x18DAxxF1")

    @property
    def answers(self) -> int:
        """The identifier of answers."""
        if self.response_id:
            return self.response_id
        unit = self.request_id >> 8 & 0xFF
        return self.request_id + 8 if self.request_id <= STANDARD_ID else _ANSWERS | unit


_NORMAL_FIXED, _ANSWERS, _TO_ALL = 0x18DA00F1, 0x18DAF100, 0x7DF
"""Of 29 bits: from the reader at 0xF1 to a unit, and back (ISO 15765-2, normal fixed); of 11 bits: to all units."""


class FleetKafka(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kafka brokers to which a Fleet Telemetry server hands payloads on."""

    brokers: Annotated[str, Meta(min_length=1, description="host:port, with commas between several")]
    topic: Annotated[str, Meta(description="topic of vehicle data: the server's `namespace`, and _V")] = "tesla_V"
    properties: Annotated[
        dict[str, str], Meta(description='properties of librdkafka, such as "security.protocol" = "SSL"')
    ] = {}


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A receiver of satellites (gpsd, or sentences of NMEA 0183 over TCP or from a serial port), the metrics of an OVMS
    module (v3) at an MQTT broker, a Tesla Fleet Telemetry server, a control unit (OBD-II, UDS), or a truck's J1939."""

    kind: Annotated[Literal["gpsd", "nmea", "ovms", "tesla", "obd", "j1939"], Meta(description="what it speaks")]
    host: Annotated[str, Meta(description="host, unless it is a serial port")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="TCP port; 0: 2947 of gpsd, 10110 of NMEA")] = 0
    device: Annotated[str, Meta(description="serial port of NMEA, such as /dev/ttyUSB0")] = ""
    baud_rate: Annotated[int, Meta(ge=300, le=1_000_000, description="its speed, bit/s")] = 9600
    lost_s: Annotated[
        float, Meta(ge=1, le=600, description="time without a fix after which there is no position, s")
    ] = 5.0
    mqtt: Annotated[MqttConfig | None, Meta(description="broker of OVMS or Fleet Telemetry")] = None
    topic: Annotated[
        TopicPrefix, Meta(description="topic of OVMS before /metric, such as ovms/USER/VEHICLE; of Tesla: topic_base")
    ] = "ovms"
    kafka: Annotated[FleetKafka | None, Meta(description="brokers of Fleet Telemetry, in place of mqtt")] = None
    can: Annotated[CanConfig | None, Meta(description="bus of obd or j1939, which may be that of the gateway")] = None
    obd: Annotated[ObdConfig, Meta(description="the control unit")] = ObdConfig()
    vin: Annotated[
        str,
        Meta(
            pattern=r"^([A-HJ-NPR-Z0-9]{17})?\Z",
            description="the vehicle's VIN, which stays here: values of another one are not taken; tesla needs it",
        ),
    ] = ""

    def __post_init__(self) -> None:
        """Reject what does not belong together."""
        if self.device and self.kind != "nmea":
            raise ValueError('device is for kind = "nmea": gpsd has its own')
        sections = {"mqtt": self.mqtt, "kafka": self.kafka, "can": self.can}
        there = [name for name, each in sections.items() if each is not None]
        needed = _SECTIONS.get(self.kind, ())
        if len(there) != bool(needed) or not set(there) <= set(needed):
            what = f"needs a section {' or '.join(needed)}, and no other" if needed else f"has no section {there[0]}"
            raise ValueError(f'kind = "{self.kind}" {what}')
        if self.kind == "tesla" and not self.vin:
            raise ValueError('kind = "tesla" needs the vin: its server has all vehicles')

    @property
    def is_receiver(self) -> bool:
        """Whether it is a receiver of satellites."""
        return self.kind in _PORTS

    @property
    def place(self) -> str:
        """Where it is, as events name it."""
        if self.can is not None:
            return f"{self.kind} {self.can.interface} {self.can.channel}"
        if self.kind in _SECTIONS:
            return f"{self.kind} {self.topic if self.kafka is None else self.kafka.topic}"
        return f"{self.kind} {self.device or f'{self.host}:{self.port or _PORTS[self.kind]}'}"


_SECTIONS: Final = {"ovms": ("mqtt",), "tesla": ("mqtt", "kafka"), "obd": ("can",), "j1939": ("can",)}
"""Sections of which a kind needs one."""


class ValueSource(Protocol):
    """What is followed until cancelled."""

    async def run(self) -> None:
        """Follow it."""


class Following:
    """Opens a source again when it is gone, at growing intervals, and reports once why it is absent."""

    def __init__(self, place: str, observe: "Observer", longest_pause_s: float = LONGEST_PAUSE_S) -> None:
        self._place, self._observe = place, observe
        self._backoff = Backoff(0.5, longest_pause_s)
        self._reported = ""

    async def run(self, attempt: Callable[[], Awaitable[None]]) -> NoReturn:
        """Let `attempt` follow the source, until cancelled."""
        while True:
            try:
                await attempt()
                reason = "it has ended the connection"
            except (OSError, TransportError) as error:
                reason = str(error) or "no answer"
            self.lost(reason)
            await asyncio.sleep(self._backoff.pause_s())

    def lost(self, reason: str) -> None:
        """Report that it is absent."""
        if reason != self._reported:
            self._observe(Observe("telemetry", "source_lost", {"source": self._place, "reason": reason}))
        self._reported = reason

    def connected(self) -> None:
        """Report that it is there."""
        self._observe(Observe("telemetry", "source_connected", {"source": self._place}))
        self._backoff.reset()
        self._reported = ""


class FixSource:
    """Follows one receiver."""

    def __init__(self, config: SourceConfig, on_fix: Callable[[Fix], None], observe: Callable[[Observe], None]) -> None:
        self._config, self._on_fix = config, on_fix
        self._following = Following(config.place, observe)

    async def run(self) -> None:
        """Read until cancelled."""
        await self._following.run(self._over_serial if self._config.device else self._over_tcp)

    async def _over_tcp(self) -> None:
        config = self._config
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(config.host, config.port or _PORTS[config.kind])
        try:
            if config.kind == "gpsd":
                writer.write(GPSD_WATCH)
            self._following.connected()
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
            self._following.connected()
            await gone.wait()
        finally:
            port.close()

    def _take(self, reader: FixReader, data: bytes) -> None:
        for fix in reader.receive(data):
            self._on_fix(fix)


def _own_name(of: str) -> str:
    """Return how brokers know the gateway of a vehicle, without its VIN."""
    return f"v2g-gateway-{hashlib.sha256(of.encode()).hexdigest()[:16]}"


class BrokerSource:
    """Follows the topics below one at an MQTT broker. It publishes nothing."""

    def __init__(
        self,
        config: SourceConfig,
        below: str,
        receive: Callable[[str, bytes], Mapped | None],
        take: Callable[[Mapped], None],
        observe: Callable[[Observe], None],
    ) -> None:
        """`receive` maps the rest of a topic, and its payload."""
        self._config, self._before, self._receive, self._take = config, f"{config.topic}/{below}/", receive, take
        self._following = Following(config.place, observe)

    async def run(self) -> None:
        """Take messages until cancelled. Raises TransportError for unusable files."""
        from v2g.io.mqtt.client import MqttClient  # only a vehicle with this source pays for loading it

        assert self._config.mqtt is not None
        client = MqttClient(
            self._config.mqtt,
            client_id=_own_name(self._before),  # others may read other vehicles there
            on_message=self._received,
            on_connection=lambda connected: self._following.connected() if connected else None,
        )
        client.subscribe(self._before + "#")
        client.start()
        try:
            while True:
                if client.problem:
                    self._following.lost(client.problem)
                await asyncio.sleep(LOOK_S)
        finally:
            await client.close()

    def _received(self, topic: str, payload: bytes) -> None:
        mapped = self._receive(topic.removeprefix(self._before), payload)
        if mapped is not None:
            self._take(mapped)


class KafkaSource:
    """Follows the payloads of one vehicle on a topic of Kafka, which a thread polls. Positions in the topic are kept by
    the brokers for the gateway's vehicle: after a start it goes on behind what the outbox has."""

    def __init__(self, config: SourceConfig, intake: "Intake", observe: "Observer") -> None:
        self._config, self._intake, self._following = config, intake, Following(config.place, observe)
        self._fields = TeslaFields()

    async def run(self) -> None:
        """Take payloads until cancelled. Raises ConfigError without the extra `tesla`."""
        payload_class()
        with extras_named():
            from confluent_kafka import Consumer, KafkaException
        kafka = self._config.kafka
        assert kafka is not None
        settings = {
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False,
            **kafka.properties,
            "bootstrap.servers": kafka.brokers,
            "group.id": _own_name(self._config.vin),
        }

        async def attempt() -> None:
            errors, there = deque[str](maxlen=1), False  # filled while `consume` polls
            taken: list[object] = []
            try:
                consumer = Consumer(settings, error_cb=lambda error: errors.append(str(error)))
            except (KafkaException, TypeError) as unusable:
                raise TransportError(f"Kafka {kafka.brokers}: {unusable}") from None
            try:
                consumer.subscribe([kafka.topic])
                while True:
                    messages = await asyncio.to_thread(consumer.consume, MOST_AT_ONCE, POLL_S)
                    for each in messages:
                        if (error := each.error()) is not None:
                            raise TransportError(f"Kafka {kafka.brokers}: {error}")
                        if each.key() in (None, self._config.vin.encode()):
                            await self._take(each.value() or b"", each.timestamp()[1])
                        taken.append(each)
                    await self._store(consumer, taken)
                    if not there and (messages or consumer.assignment()):
                        self._following.connected()
                        there = True
                    elif errors:
                        self._following.lost(f"Kafka {kafka.brokers}: {errors.pop()}")
            except KafkaException as error:  # an unusable topic, or a partition that is another consumer's now
                raise TransportError(f"Kafka {kafka.brokers}: {error}") from None
            finally:
                try:
                    with contextlib.suppress(KafkaException):
                        await self._store(consumer, taken)
                finally:
                    await asyncio.to_thread(consumer.close)

        await self._following.run(attempt)

    async def _store(self, consumer: Any, taken: list[Any]) -> None:
        """Let the brokers note what was taken, once the outbox has it: a kill before lets it be read again."""
        if not taken:
            return
        await self._intake.stored()
        while taken:
            consumer.store_offsets(taken.pop(0))
        consumer.commit()  # at once: what is noted some seconds later would be read twice after a kill

    async def _take(self, payload: bytes, at_ms: int) -> None:
        """Take a payload that its server handed on at `at_ms`, its time if it says none."""
        try:
            vin, found = self._fields.payload(payload)
        except CodecError:
            self._fields.malformed += 1
            return
        if found and vin in ("", self._config.vin):
            own_ms = found[0].utc_ms or max(at_ms, 0) or None
            await self._intake.on_payload([msgspec.structs.replace(each, utc_ms=own_ms) for each in found])


class TruckSource:
    """Listens to the J1939 bus of a truck. It sends nothing."""

    def __init__(self, config: SourceConfig, on_mapped: "OnMapped", observe: "Observer") -> None:
        self._config, self._on_mapped, self._following = config, on_mapped, Following(config.place, observe)
        self._bus = TruckBus()

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._following.run(self._listen)

    async def _listen(self) -> None:
        assert self._config.can is not None
        port = await CanPort.opened(self._config.can, self._received, gather_s=GATHER_S)
        try:
            self._following.connected()
            await port.failed()
        finally:
            await port.close()

    def _received(self, frame_id: int, data: bytes, at_s: float) -> None:
        mapped = self._bus.receive(frame_id, data, at_s)
        if self._config.vin and self._bus.vin not in ("", self._config.vin):
            self._following.lost(OTHER_VEHICLE)
        elif mapped is not None:
            self._on_mapped(mapped)


class UnitSource:
    """Reads a control unit. All that it sends are a `ReadRequest` at a time, and flow control for its answer."""

    def __init__(self, config: SourceConfig, on_mapped: "OnMapped", observe: "Observer") -> None:
        with extras_named():
            import isotp
        logging.getLogger("isotp").setLevel(logging.ERROR)  # else each frame that is not of ISO 15765-2 is a line
        self._config, self._on_mapped = config, on_mapped
        self._following = Following(config.place, observe, LONGEST_SILENCE_S)
        self._frames, self._answered = deque[isotp.CanMessage](), asyncio.Event()
        self._port: CanPort | None = None
        self._silent = 0
        """Requests in a row without an answer."""
        unit, is_long = config.obd, config.obd.request_id > STANDARD_ID
        mode = isotp.AddressingMode.Normal_29bits if is_long else isotp.AddressingMode.Normal_11bits
        self._link = isotp.TransportLayerLogic(
            rxfn=lambda _: self._frames.popleft() if self._frames else None,
            txfn=lambda message: self._send(message.arbitration_id, bytes(message.data)),
            address=isotp.Address(mode, txid=unit.request_id, rxid=unit.answers),
            params={"tx_padding": 0xCC, "blocksize": 0, "stmin": 0},
        )
        self._message: Callable[[bytes], isotp.CanMessage] = lambda data: isotp.CanMessage(
            unit.answers, len(data), data, extended_id=is_long
        )

    async def run(self) -> None:
        """Read until cancelled."""
        await self._following.run(self._attempt)

    async def _attempt(self) -> None:
        assert self._config.can is not None
        port = self._port = await CanPort.opened(self._config.can, self._received)
        try:
            if self._config.vin:
                await self._check_vin()
            values = await self._values()
            if not values:
                raise (
                    self._no_answer()
                    if self._silent
                    else TransportError("the unit has no value that is a signal", hint="see obd.values")
                )
            self._following.connected()
            while True:
                for request, parts in values.items():
                    content = await self._ask(request) or b""
                    for each in parts:
                        if (mapped := each.read(content)) is not None:
                            self._on_mapped(mapped)
                await asyncio.sleep(self._config.obd.interval_s)
        finally:
            self._port = None
            await port.close()

    def _send(self, frame_id: int, data: bytes) -> None:
        if self._port is not None:
            self._port.send(frame_id, data)

    def _received(self, frame_id: int, data: bytes, _: float) -> None:
        if frame_id == self._config.obd.answers:
            self._frames.append(self._message(data))
            self._link.process()
            if self._link.available():
                self._answered.set()

    async def _ask(self, request: ReadRequest) -> bytes | None:
        """Return the answer to a request; None: there is none. Raises TransportError if the unit is silent."""
        self._link.reset()
        self._answered.clear()
        self._link.send(request.data)
        self._link.process()
        try:
            async with asyncio.timeout(ANSWER_S) as deadline:
                while True:
                    await self._answered.wait()
                    self._answered.clear()
                    while (answer := self._link.recv()) is not None:
                        self._silent = 0
                        if (content := request.content(bytes(answer))) is not None:
                            return content
                        if (refusal := request.refusal(bytes(answer))) == PENDING:
                            deadline.reschedule(asyncio.get_running_loop().time() + PENDING_S)
                        elif refusal is not None:
                            return None
        except TimeoutError:  # as units may let what they do not have
            self._silent += 1
            if self._silent >= MOST_SILENT:
                raise self._no_answer() from None
            return None

    async def _check_vin(self) -> None:
        """Raise TransportError unless the unit tells the vehicle's VIN."""
        for each in VIN_REQUESTS:
            if (content := await self._ask(each)) is not None:
                if vin_of(content) != self._config.vin:
                    raise TransportError(OTHER_VEHICLE)
                return
        if self._silent:
            raise self._no_answer()
        raise TransportError("the unit does not tell the VIN", hint="remove vin, or name a unit that does")

    def _no_answer(self) -> TransportError:
        self._on_mapped(Mapped({}, "parked"))
        return TransportError(f"no answer from unit {self._config.obd.request_id:#x}", hint="is it on?")

    async def _values(self) -> dict[ReadRequest, list[UnitValue]]:
        """Return what the unit can be asked for, and the values in each answer."""
        known: set[int] = set()
        for first in range(0x00, 0xE0, 0x20):
            if (content := await self._ask(ReadRequest(ReadService.CURRENT_DATA, first))) is None:
                break
            known |= supported(first, content)
            if first + 0x20 not in known:
                break
        found = {
            ReadRequest(ReadService.CURRENT_DATA, each): [PARAMETERS[each]] for each in PARAMETERS if each in known
        }
        for value in self._config.obd.values:
            found.setdefault(value.request, []).append(value)
        return found


OnMapped = Callable[[Mapped], None]
Observer = Callable[[Observe], None]


class Intake(msgspec.Struct, frozen=True):
    """Where sources give what they have."""

    on_fix: Callable[[Fix], None]
    on_mapped: OnMapped
    """Takes what is measured now: what comes faster than records are made (`rates`) is joined."""
    on_payload: Callable[[Sequence[Mapped]], Awaitable[None]]
    """Takes what was measured at one time of its own, as a record of its own; waits while there is no room."""
    stored: Callable[[], Awaitable[None]]
    """Returns once the outbox has all that was taken."""


def _ovms(config: SourceConfig, on_mapped: OnMapped, observe: Observer) -> ValueSource:
    metrics = OvmsMetrics()
    return BrokerSource(
        config, "metric", lambda topic, data: metrics.receive(topic.replace("/", "."), data), on_mapped, observe
    )


def _tesla(config: SourceConfig, intake: Intake, observe: Observer) -> ValueSource:
    if config.kafka is not None:
        return KafkaSource(config, intake, observe)
    return BrokerSource(config, f"{config.vin}/v", TeslaFields().json, intake.on_mapped, observe)


SOURCES: Final[dict[str, Callable[[SourceConfig, Intake, Observer], ValueSource]]] = {
    "gpsd": lambda config, intake, observe: FixSource(config, intake.on_fix, observe),
    "nmea": lambda config, intake, observe: FixSource(config, intake.on_fix, observe),
    "ovms": lambda config, intake, observe: _ovms(config, intake.on_mapped, observe),
    "tesla": _tesla,
    "obd": lambda config, intake, observe: UnitSource(config, intake.on_mapped, observe),
    "j1939": lambda config, intake, observe: TruckSource(config, intake.on_mapped, observe),
}
"""The sources by their kinds. Another one is a kind of `SourceConfig` and an entry here."""
