"""The powerline port: Ethernet frames in and out, independent of the transport. `v2g.io.plc.opening` opens one."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

import msgspec

from v2g.errors import ConfigError
from v2g.io.capture.recorder import RecordConfig
from v2g.io.plc.impairment import IDLE, ImpairmentConfig
from v2g.slac.modem import AttenuationConfig

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
        """All of `interface`."""
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
