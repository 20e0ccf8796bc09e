"""The powerline port: Ethernet frames in and out, independent of the transport.

Three backends pass the same tests: `loopback` (stations of one process or of one machine, simulated modem), `raw`
(AF_PACKET on the interface of a modem) and `serial` (QCA7000 on a serial port). They are loaded on demand, so
that a charger without a serial port does not need pyserial.

`open_link` returns the port with everything that the configuration adds, each a PlcLink around the
next: backend, `ReconnectingLink` (reopens it after a failure), `ImpairedLink`, `SimulatedModemLink`, `RecordedLink`,
`TapLink`.
"""

import importlib
import secrets
from collections.abc import Callable
from typing import Final, Literal, Protocol

import msgspec

from v2g.errors import ConfigError
from v2g.io.capture.recorder import Recorder
from v2g.io.plc.impairment import IDLE, ImpairmentConfig
from v2g.io.simulation.medium import Medium
from v2g.observe import Observe
from v2g.slac.modem import AttenuationConfig, Measures

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
    baud_rate: int = 115200
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


Open = Callable[[PlcConfig, Medium | None], PlcLink]

BACKENDS: Final[dict[str, tuple[str, str]]] = {
    "loopback": ("v2g.io.plc.loopback", "open_loopback"),
    "raw": ("v2g.io.plc.raw", "open_raw"),
    "serial": ("v2g.io.plc.serial", "open_serial"),
}
"""Backend name -> module and function that opens it."""


def open_link(
    config: PlcConfig,
    *,
    role: Literal["ev", "evse"],
    medium: Medium | None = None,
    observe: Callable[[Observe], None] = lambda _: None,
    recorder: Recorder | None = None,
) -> PlcLink:
    """Open the configured port, in the running loop, with everything that `config` adds.

    `medium` is needed by `loopback` only. `observe` gets events of lost and returned ports; `recorder` gets every
    frame that this host sends or receives, including those of its modem.

    Raises ConfigError for an incomplete configuration, TransportError when the port cannot be opened.
    """
    # These use PlcLink.
    from v2g.io.plc.impaired import ImpairedLink
    from v2g.io.plc.loopback import LoopbackLink, MeasuresAcross
    from v2g.io.plc.reconnecting import ReconnectingLink
    from v2g.io.plc.recorded import RecordedLink
    from v2g.io.plc.simulation import SimulatedModemLink
    from v2g.io.plc.tap import TapLink

    if config.tap and config.backend == "raw":
        raise ConfigError("a modem on a network interface needs no tap", hint="remove `tap`")
    module, function = BACKENDS[config.backend]
    opener: Open = getattr(importlib.import_module(module), function)
    again = msgspec.structs.replace(config, mac=own_mac(config).hex(":"))  # the same after every reopening
    name = config.interface or config.device or config.backend
    measures: Measures = config.attenuation
    link = opener(again, medium)
    try:
        if isinstance(link, LoopbackLink):  # never lost, and knows the others' attenuation
            measures = MeasuresAcross(link, config.attenuation)
        else:
            link = ReconnectingLink(link, lambda: opener(again, medium), name=name, observe=observe)
        if not config.impairment.idle:
            link = ImpairedLink(link, config.impairment)
        if config.simulated_modem or config.backend == "loopback":
            link = SimulatedModemLink(link, measures if role == "evse" else None)
        if recorder is not None:
            link = RecordedLink(link, recorder, name)
        if config.tap:
            link = TapLink(link, config.tap, observe=observe)
    except BaseException:
        link.close()
        raise
    return link


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
