"""The powerline port: Ethernet frames in and out, independent of the transport. `v2g.io.plc.opening` opens one."""

import heapq
import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from v2g.errors import ConfigError
from v2g.io.capture.recorder import RecordConfig
from v2g.slac.modem import AttenuationConfig

HELD_S: Final = 0.06
"""Extra delay of a reordered frame: longer than the standard's 20 to 50 ms between two sounds."""

MAX_FLIPS: Final = 3
"""Maximum number of flipped bits in a frame."""

Share = Annotated[float, Meta(ge=0, le=1)]
Milliseconds = Annotated[float, Meta(ge=0, le=5000)]


class ImpairmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Impairment of frames, in both directions of this port; for tests.

    Shares are of all frames: 0.2 is one in five.
    """

    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """Selects the affected frames; the same seed affects the same ones."""
    loss: Share = 0.0
    """Share of frames that are lost."""
    duplicate: Share = 0.0
    """Share of frames that arrive twice."""
    reorder: Share = 0.0
    """Share of frames that arrive 60 ms late."""
    bit_error: Share = 0.0
    """Share of frames that arrive with 1 to 3 flipped bits."""
    delay_ms: Milliseconds = 0.0
    """Delay of every frame."""
    jitter_ms: Milliseconds = 0.0
    """Maximum random addition to it."""

    @property
    def idle(self) -> bool:
        """Whether there is no impairment."""
        return self == msgspec.structs.replace(IDLE, seed=self.seed)


IDLE: Final = ImpairmentConfig()


class Impairment:
    """One direction: when, how often and with what content frames arrive. Pure except for its generator's state."""

    def __init__(self, config: ImpairmentConfig, direction: str) -> None:
        self._config = config
        self._direction = direction
        self._count = 0

    def arrivals(self, frame: bytes) -> list[tuple[float, bytes]]:
        """Return (delay in s, frame) of everything that arrives; empty when it is lost."""
        config = self._config
        # One generator for each frame, so that frames do not influence each other.
        chance = random.Random(f"{config.seed}/{self._direction}/{self._count}")  # noqa: S311 - weather, not a key
        self._count += 1
        if chance.random() < config.loss:
            return []
        copies = 2 if chance.random() < config.duplicate else 1
        return [self._arrival(frame, chance) for _ in range(copies)]

    def _arrival(self, frame: bytes, chance: random.Random) -> tuple[float, bytes]:
        config = self._config
        delay = (config.delay_ms + config.jitter_ms * chance.random()) / 1000
        if chance.random() < config.reorder:
            delay += HELD_S
        if frame and chance.random() < config.bit_error:
            damaged = bytearray(frame)
            for _ in range(chance.randint(1, MAX_FLIPS)):
                bit = chance.randrange(8 * len(frame))
                damaged[bit // 8] ^= 1 << bit % 8
            frame = bytes(damaged)
        return delay, frame


class DelayLine:
    """Frames in transit, in order of arrival; simultaneous ones in order of sending."""

    def __init__(self) -> None:
        self._frames: list[tuple[float, int, bytes]] = []
        self._count = 0

    def put(self, at: float, frame: bytes) -> None:
        """Let `frame` arrive at `at`."""
        self._count += 1
        heapq.heappush(self._frames, (at, self._count, frame))

    def due(self, now: float) -> list[bytes]:
        """Return the frames that have arrived by `now`."""
        frames = []
        while self._frames and self._frames[0][0] <= now:
            frames.append(heapq.heappop(self._frames)[2])
        return frames

    @property
    def deadline(self) -> float | None:
        """When the next frame arrives."""
        return self._frames[0][0] if self._frames else None


OnFrame = Callable[[bytes], None]
"""Called with each frame received: destination address first, no checksum, at most 1518 bytes."""

OnPort = Callable[[bool], None]
"""Called with False when the port is lost (unplugged, deleted, down), with True when it is back."""

ETHERTYPE: Final = 0x88E1


class PlcLink(Protocol):
    """One powerline port. It belongs to the loop in which it was opened."""

    @property
    def mac(self) -> bytes:
        """The port's own address, 6 bytes."""

    def on_frame(self, callback: OnFrame) -> None:
        """Call `callback` with each frame to this port or to all; one callback at a time."""

    def on_port(self, callback: OnPort) -> None:
        """Call `callback` when the port is lost or back. Backends do not come back, ports of `open_link` do."""

    def send(self, frame: bytes) -> None:
        """Send a frame. A full queue drops it.

        A backend raises TransportError when its port is lost; ports of `open_link` drop the frame, and call `on_port`.
        """

    def close(self) -> None:
        """Close the port; idempotent."""


class PlcConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of a port."""

    backend: Literal["loopback", "raw", "serial"] = "loopback"
    """Kind of port: simulated (`loopback`), a network interface (`raw`), or a modem on a serial line (`serial`)."""
    interface: str = ""
    """Network interface of `raw`."""
    device: str = ""
    """Device of `serial`, such as /dev/ttyUSB0."""
    baud_rate: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 115200
    """Speed of `serial`, bit/s."""
    mac: str = ""
    """Own address (aa:bb:cc:dd:ee:ff) if the port has none (`loopback`, `serial`); empty: a random one."""
    simulated_modem: bool = False
    """Add a simulated modem to a port without one; `loopback` always has one."""
    attenuation: AttenuationConfig = AttenuationConfig()
    """Measurements of a charger's simulated modem."""
    tap: str = ""
    """Name of a network interface to create for this port (needs CAP_NET_ADMIN), so that SDP and TLS work over a modem
    without one; set `link.interface` to the same name."""
    impairment: ImpairmentConfig = IDLE
    """Simulated impairment."""

    def __post_init__(self) -> None:
        """Reject a port without its place, and an address that no port has."""
        if self.backend == "raw" and not self.interface:
            raise ValueError("raw needs an interface, such as eth1")
        if self.backend == "serial" and not self.device:
            raise ValueError("serial needs a device, such as /dev/ttyUSB0")
        if self.mac:
            try:
                parse_mac(self.mac)
            except ConfigError as error:
                raise ValueError(f"mac: {error}: {error.hint}") from None


InterfaceName = Annotated[str, msgspec.Meta(min_length=1, max_length=15)]
InterfaceNames = Annotated[tuple[InterfaceName, ...], msgspec.Meta(min_length=1, max_length=16)]


class LinkEndConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What charger and vehicle both configure of their connection."""

    interface: InterfaceName | InterfaceNames = "lo"
    """Network interface for SDP and TCP, or several."""
    medium: Path | None = None
    """Folder shared by simulated vehicle and charger (pilot, powerline, DC line)."""
    plc: PlcConfig = PlcConfig()
    """Powerline port for SLAC."""
    record: RecordConfig | None = None
    """Record powerline frames and the connection, of TLS with its secrets if tls.key_log is set."""

    @property
    def interfaces(self) -> tuple[str, ...]:
        return (self.interface,) if isinstance(self.interface, str) else self.interface


def own_mac(config: PlcConfig) -> bytes:
    """Return the configured address, or a random one. Raises ConfigError for an invalid one."""
    return parse_mac(config.mac) if config.mac else random_mac()


def random_mac() -> bytes:
    """Return a locally administered address."""
    first, *rest = secrets.token_bytes(6)
    return bytes(((first & 0xFC) | 0x02, *rest))


def parse_mac(text: str) -> bytes:
    """Return the 6 bytes of aa:bb:cc:dd:ee:ff. Raises ConfigError for anything else."""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        mac = b""
    if len(mac) != 6 or mac[0] & 1:
        raise ConfigError(f"{text!r} is not a unicast address", hint="write it as 02:00:00:00:00:01")
    return mac
