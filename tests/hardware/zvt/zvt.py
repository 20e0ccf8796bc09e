"""What several tests of zvt use."""

import itertools
from collections.abc import Iterator

from v2g.hardware.zvt import commands as zvt
from v2g.hardware.zvt.commands import ZvtCommand
from v2g.hardware.zvt.terminal_sim import Card, SimulatedZvtTerminal
from v2g.hardware.zvt.till import JobEnded, Till, TillConfig, TillJob


class Pair:
    """A till and its terminal, joined by a wire that can be cut after any message."""

    def __init__(self, config: TillConfig | None = None, *, reverses_booked: bool = False) -> None:
        self.till = Till(config or TillConfig())
        self.terminal = SimulatedZvtTerminal(reverses_booked=reverses_booked)
        self.now = 0.0
        self.left: Iterator[int] = itertools.count()
        """How many messages go through; it ends where the wire breaks."""
        self.events: list[JobEnded] = []
        self.sent: list[ZvtCommand] = []
        self.connect()

    def connect(self) -> None:
        self.till.opened(self.now)
        self.pump()

    def cut(self) -> None:
        self.till.closed()
        self.terminal.closed()
        self.left = itertools.count()

    def pump(self) -> None:
        """Carry messages until nobody says anything."""
        while True:
            quiet = True
            for source, sink in ((self.till, self._to_terminal), (self.terminal, self._to_till)):
                buffer = bytearray(source.output())
                for command in list(zvt.cut(buffer)):
                    quiet = False
                    if next(self.left, None) is None:
                        self.cut()
                        self.events += self.till.events()
                        return
                    sink(command)
            self.events += self.till.events()
            if quiet:
                return

    def _to_terminal(self, command: ZvtCommand) -> None:
        self.sent.append(command)
        self.terminal.receive(command.encode())

    def _to_till(self, command: ZvtCommand) -> None:
        self.till.receive(command.encode(), self.now)

    def do(self, job: TillJob, card: Card | None = None) -> JobEnded | None:
        """Let the terminal do something; return how it ended."""
        self.till.do(job, self.now)
        self.pump()
        if card is not None:
            self.terminal.present(card)
            self.pump()
        return next((event for event in reversed(self.events) if event.job == job), None)
