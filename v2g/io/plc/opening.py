"""Opens the powerline port that a configuration describes.

Three backends pass the same tests: `loopback` (stations of one process or of one machine, simulated modem), `raw`
(AF_PACKET on the interface of a modem) and `serial` (QCA7000 on a serial port). They are loaded on demand, so
that a charger without a serial port does not need pyserial.

What the configuration adds is a PlcLink around the next: backend, `ReconnectingLink` (reopens it after a failure),
`ImpairedLink`, `SimulatedModemLink`, `RecordedLink`, `TapLink`.
"""

import asyncio
import importlib
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from v2g.errors import ConfigError, TransportError
from v2g.io.capture.recorder import FrameRecorder
from v2g.io.plc.link import DelayLine, Impairment, ImpairmentConfig, OnFrame, PlcConfig, PlcLink, own_mac, random_mac
from v2g.io.plc.loopback import LoopbackLink, MeasuresAcross
from v2g.io.plc.tap import RecordedLink, TapLink, WrappedLink
from v2g.io.simulation.medium import Medium
from v2g.observe import Callbacks, Observe
from v2g.slac.modem import FrameDelivery, Measures, SimulatedModem

# -- A port that is reopened after a loss: a USB modem unplugged, an interface deleted. Users of the port continue:
# frames sent meanwhile are lost, and the port is reopened with growing pauses between the attempts.

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
"""Pauses between attempts to reopen the port: doubled each time up to the longest."""


class ReconnectingLink:
    """A PlcLink over one that is reopened."""

    def __init__(
        self, port: PlcLink, open_again: Callable[[], PlcLink], *, name: str, observe: Callable[[Observe], None]
    ) -> None:
        """Use `port` until it is lost, then the result of `open_again` once it raises no TransportError."""
        self._open_again = open_again
        self._name = name
        self._observe = observe
        self._callback: OnFrame | None = None
        self.on_port: Final = Callbacks[bool]()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._pause = FIRST_PAUSE_S
        self._lost_at = 0.0
        self._closed = False
        self.mac = port.mac
        """The port's own address, from its first opening."""
        self._port: PlcLink | None = None
        self._use(port)

    def on_frame(self, callback: OnFrame) -> None:
        self._callback = callback

    def send(self, frame: bytes) -> None:
        """See PlcLink. A frame for a lost port is dropped; nothing is raised."""
        if self._port is None:
            return
        try:
            self._port.send(frame)
        except TransportError as error:
            self._lost(str(error))

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._port is not None:
            self._port.close()
            self._port = None

    def _use(self, port: PlcLink) -> None:
        self._port = port
        port.on_frame(self._received)
        port.on_port(lambda present: None if present else self._lost("it is gone"))

    def _received(self, frame: bytes) -> None:
        if self._callback is not None:
            self._callback(frame)

    def _lost(self, why: str) -> None:
        if self._port is None or self._closed:
            return
        self._port.close()
        self._port = None
        self._lost_at = self._loop.time()
        self._observe(Observe("link", "port_lost", {"port": self._name, "error": why}))
        self._pause = FIRST_PAUSE_S
        self._timer = self._loop.call_later(self._pause, self._try)
        self.on_port.tell(False)  # noqa: FBT003

    def _try(self) -> None:
        try:
            port = self._open_again()
        except TransportError:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
            self._timer = self._loop.call_later(self._pause, self._try)
            return
        self._use(port)
        gone_s = round(self._loop.time() - self._lost_at, 3)
        self._observe(Observe("link", "port_back", {"port": self._name, "gone_s": gone_s}))
        self.on_port.tell(True)  # noqa: FBT003


# -- Simulated impairment of any port: see v2g.io.plc.link


class _Direction:
    """Frames of one direction of a port; `arrive` is called for each that arrives."""

    def __init__(self, config: ImpairmentConfig, direction: str, arrive: Callable[[bytes], None]) -> None:
        self._impairment = Impairment(config, direction)
        self._line = DelayLine()
        self._arrive = arrive
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, frame: bytes) -> None:
        for delay, arriving in self._impairment.arrivals(frame):
            if delay:
                self._line.put(self._loop.time() + delay, arriving)
            else:
                self._arrive(arriving)
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._line = DelayLine()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._line.deadline
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._due, deadline)

    def _due(self, deadline: float) -> None:
        for frame in self._line.due(max(deadline, self._loop.time())):
            self._arrive(frame)
        self._arm()


class ImpairedLink(WrappedLink):
    """A PlcLink with simulated impairment."""

    def __init__(self, link: PlcLink, config: ImpairmentConfig) -> None:
        super().__init__(link)
        self._out = _Direction(config, "sent", link.send)
        self._in = _Direction(config, "received", self._pass_on)
        link.on_frame(self._in.put)

    def send(self, frame: bytes) -> None:
        self._out.put(frame)

    def close(self) -> None:
        """See PlcLink. Frames in transit are lost."""
        self._out.close()
        self._in.close()
        super().close()


# -- A simulated modem for a port without one


class SimulatedModemLink(WrappedLink):
    """A PlcLink through a simulated modem; `measures` as for SimulatedModem."""

    def __init__(self, line: PlcLink, measures: Measures | None) -> None:
        super().__init__(line)
        self.modem = SimulatedModem(host_mac=line.mac, mac=random_mac(), measures=measures)
        line.on_frame(lambda frame: self._deliver(self.modem.from_line(frame)))

    def send(self, frame: bytes) -> None:
        """See PlcLink. The modem's own answers arrive before this returns."""
        self._deliver(self.modem.from_host(frame))

    def _deliver(self, deliveries: list[FrameDelivery]) -> None:
        for delivery in deliveries:
            if delivery.to == "line":
                self._link.send(delivery.frame)
            else:
                self._pass_on(delivery.frame)


Open = Callable[[PlcConfig, Medium | None], PlcLink]

BACKENDS: Final[dict[str, tuple[str, str]]] = {
    "loopback": ("v2g.io.plc.loopback", "open_loopback"),
    "raw": ("v2g.io.plc.raw", "open_raw"),
    "serial": ("v2g.io.plc.raw", "open_serial"),
}
"""Backend name -> module and function that opens it."""


def open_link(
    config: PlcConfig,
    *,
    role: Literal["ev", "evse"],
    medium: Medium | None = None,
    observe: Callable[[Observe], None] = lambda _: None,
    recorder: FrameRecorder | None = None,
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
