"""The powerline port: Ethernet frames in and out, whatever carries them.

Three backends pass the same tests: `loopback` (stations of one process or of one machine, simulated modem), `raw`
(AF_PACKET on the interface of a modem) and `serial` (QCA7000 on a serial port). They are loaded when asked for, so
that a charger without a serial port does not need pyserial.

What `open_link` returns is the port with everything that the configuration puts on it, each a PlcLink around the
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
"""Called with False when the port is gone (unplugged, deleted, down), with True when it is back."""

ETHERTYPE: Final = 0x88E1


class PlcLink(Protocol):
    """One powerline port. It belongs to the loop it was opened in."""

    @property
    def mac(self) -> bytes:
        """Our address on the line, 6 bytes."""

    def on_frame(self, callback: OnFrame) -> None:
        """Call `callback` with each frame that others send to us or to all; one callback at a time."""

    def on_port(self, callback: OnPort) -> None:
        """Call `callback` when the port vanishes or comes back. Backends do not come back, `open_link`'s ports do."""

    def send(self, frame: bytes) -> None:
        """Put a frame on the line. A line that is full drops it.

        A backend raises TransportError when its port is gone; ports of `open_link` lose the frame, and say `on_port`.
        """

    def close(self) -> None:
        """Let go of the port; safe to call twice."""


class PlcConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which port, and how."""

    backend: Literal["loopback", "raw", "serial"] = "loopback"
    """What the port is: simulated (`loopback`), a network interface (`raw`), or a modem on a serial line (`serial`)."""
    interface: str = ""
    """Network interface of `raw`."""
    device: str = ""
    """Device of `serial`, such as /dev/ttyUSB0."""
    baud_rate: int = 115200
    """Speed of `serial`, bit/s."""
    mac: str = ""
    """Our address (aa:bb:cc:dd:ee:ff) where the port has none (`loopback`, `serial`); empty draws one."""
    simulated_modem: bool = False
    """Put a simulated modem behind a port that has none; `loopback` always has one."""
    attenuation: AttenuationConfig = AttenuationConfig()
    """What a charger's simulated modem measures."""
    tap: str = ""
    """Network interface to be made of this port (needs CAP_NET_ADMIN), so that SDP and TLS run over a modem that has
    none of its own; set `link.interface` to the same name."""
    impairment: ImpairmentConfig = IDLE
    """Makes the line worse on purpose."""


Open = Callable[[PlcConfig, Medium | None], PlcLink]

BACKENDS: Final[dict[str, tuple[str, str]]] = {
    "loopback": ("v2g.io.plc.loopback", "open_loopback"),
    "raw": ("v2g.io.plc.raw", "open_raw"),
    "serial": ("v2g.io.plc.serial", "open_serial"),
}
"""Backend name to the module and function that opens it."""


def open_link(
    config: PlcConfig,
    *,
    role: Literal["ev", "evse"],
    medium: Medium | None = None,
    observe: Callable[[Observe], None] = lambda _: None,
    recorder: Recorder | None = None,
) -> PlcLink:
    """Open the port that `config` names, in the running loop, with all that `config` puts on it.

    `medium` is needed by `loopback` only. `observe` hears of ports that vanish and come back; `recorder` gets every
    frame that this host sends or receives, to and from its modem included.

    Raises ConfigError when the configuration lacks something, TransportError when the port cannot be opened.
    """
    # These use PlcLink.
    from v2g.io.plc.impaired import ImpairedLink
    from v2g.io.plc.loopback import LoopbackLink, MeasuresAcross
    from v2g.io.plc.reconnecting import ReconnectingLink
    from v2g.io.plc.recorded import RecordedLink
    from v2g.io.plc.simulation import SimulatedModemLink
    from v2g.io.plc.tap import TapLink

    if config.tap and config.backend == "raw":
        raise ConfigError("a modem on a network interface needs no tap", hint="leave `tap` out")
    module, function = BACKENDS[config.backend]
    opener: Open = getattr(importlib.import_module(module), function)
    again = msgspec.structs.replace(config, mac=own_mac(config).hex(":"))  # the same whenever the port is opened
    name = config.interface or config.device or config.backend
    measures: Measures = config.attenuation
    link = opener(again, medium)
    try:
        if isinstance(link, LoopbackLink):  # never vanishes, and knows how far away the others are
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
    """Return the configured address, or draw one. Raises ConfigError when it is none."""
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
