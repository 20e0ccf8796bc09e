"""Opens the powerline port that a configuration describes.

Three backends pass the same tests: `loopback` (stations of one process or of one machine, simulated modem), `raw`
(AF_PACKET on the interface of a modem) and `serial` (QCA7000 on a serial port). They are loaded on demand, so
that a charger without a serial port does not need pyserial.

What the configuration adds is a PlcLink around the next: backend, `ReconnectingLink` (reopens it after a failure),
`ImpairedLink`, `SimulatedModemLink`, `RecordedLink`, `TapLink`.
"""

import importlib
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from v2g.errors import ConfigError
from v2g.io.capture.recorder import Recorder
from v2g.io.plc.impaired import ImpairedLink
from v2g.io.plc.link import PlcConfig, PlcLink, own_mac
from v2g.io.plc.loopback import LoopbackLink, MeasuresAcross
from v2g.io.plc.reconnecting import ReconnectingLink
from v2g.io.plc.recorded import RecordedLink
from v2g.io.plc.simulation import SimulatedModemLink
from v2g.io.plc.tap import TapLink
from v2g.io.simulation.medium import Medium
from v2g.observe import Observe
from v2g.slac.modem import Measures

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
