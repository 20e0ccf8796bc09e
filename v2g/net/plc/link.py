"""The powerline port: Ethernet frames in and out, whatever carries them.

Three backends pass the same tests: `loopback` (two processes on one machine, simulated modem), `raw` (AF_PACKET on
the interface of a modem) and `serial` (QCA7000 on a serial port). They are loaded when asked for, so that a
charger without a serial port does not need pyserial.
"""

import importlib
from collections.abc import Callable
from typing import Final, Literal, Protocol

import msgspec

from v2g.errors import ConfigError
from v2g.net.medium import Medium
from v2g.slac.modem import AttenuationConfig

OnFrame = Callable[[bytes], None]
"""Called with each frame received: destination address first, no checksum, at most 1518 bytes."""

ETHERTYPE: Final = 0x88E1


class PlcLink(Protocol):
    """One powerline port. It belongs to the loop it was opened in."""

    @property
    def mac(self) -> bytes:
        """Our address on the line, 6 bytes."""

    def on_frame(self, callback: OnFrame) -> None:
        """Call `callback` with each frame that others send to us or to all; one callback at a time."""

    def send(self, frame: bytes) -> None:
        """Put a frame on the line. A line that is full drops it; raises TransportError when the port is gone."""

    def close(self) -> None:
        """Let go of the port; safe to call twice."""


class PlcConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which port, and how.

    `interface` is the network interface of `raw`; `device` and `baud_rate` are the port of `serial`. `mac`
    (aa:bb:cc:dd:ee:ff) is our address where the port has none (`loopback`, `serial`); empty draws one.
    `simulated_modem` puts a simulated modem behind a port that has none; `loopback` always has one. `attenuation` is
    what a charger's simulated modem measures.
    """

    backend: Literal["loopback", "raw", "serial"] = "loopback"
    interface: str = ""
    device: str = ""
    baud_rate: int = 115200
    mac: str = ""
    simulated_modem: bool = False
    attenuation: AttenuationConfig = AttenuationConfig()


Open = Callable[[PlcConfig, Medium | None], PlcLink]

BACKENDS: Final[dict[str, tuple[str, str]]] = {
    "loopback": ("v2g.net.plc.loopback", "open_loopback"),
    "raw": ("v2g.net.plc.raw", "open_raw"),
    "serial": ("v2g.net.plc.serial", "open_serial"),
}
"""Backend name to the module and function that opens it."""


def open_link(config: PlcConfig, *, role: Literal["ev", "evse"], medium: Medium | None = None) -> PlcLink:
    """Open the port that `config` names, in the running loop. `medium` is needed by `loopback` only.

    Raises ConfigError when the configuration lacks something, TransportError when the port cannot be opened.
    """
    from v2g.net.plc.simulation import SimulatedModemLink  # uses PlcLink

    module, function = BACKENDS[config.backend]
    opener: Open = getattr(importlib.import_module(module), function)
    link = opener(config, medium)
    if config.simulated_modem or config.backend == "loopback":
        return SimulatedModemLink(link, config.attenuation if role == "evse" else None)
    return link


def parse_mac(text: str) -> bytes:
    """Return the 6 bytes of aa:bb:cc:dd:ee:ff. Raises ConfigError for anything else."""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        mac = b""
    if len(mac) != 6 or mac[0] & 1:
        raise ConfigError(f"{text!r} is no address of one station", hint="write it as 02:00:00:00:00:01")
    return mac
