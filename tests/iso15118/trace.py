"""What several tests of trace use."""

from typing import Any

from evcc.session.settings import ProgramStep, SessionConfig
from pki_tools.tree import PkiTree
from tests.sessions.joined import Joined
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.trace import Trace, TracedCore, TraceFile
from v2g.iso15118 import trace
from v2g.iso15118.engine.session import Send
from v2g.iso15118.trace import Line

CHARGE = SessionConfig(program=(ProgramStep(do="charge", energy_wh=100), ProgramStep(do="discharge", energy_wh=50)))


class HandClock(Clock):
    """The clock of a joined pair."""

    def __init__(self) -> None:
        super().__init__()
        self.joined: Joined | None = None

    def monotonic(self) -> float:
        return self.joined.now if self.joined else 0.0

    def utc_ms(self) -> int:
        return self.joined.utc_ms if self.joined else 0


class Lines(TraceFile):
    """A trace in memory."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, line: Line) -> None:
        self.lines.append(trace.decode_line(trace.encode_line(line)))

    def close(self) -> None:
        pass


class Open(TracedCore):
    """A traced core into which a test may look."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


class Traced:
    """A joined pair of which both ends are traced."""

    def __init__(self, pki: PkiTree, utc_ms: int, **options: Any) -> None:
        clock = HandClock()
        self.files = {"evcc": Lines(), "secc": Lines()}
        self.joined: Any = Joined(pki, utc_ms, **{"vehicle": CHARGE, **options})
        clock.joined = self.joined
        for process in ("evcc", "secc"):
            core = Open(getattr(self.joined, process), Trace(process, clock, self.files[process]).place())
            setattr(self.joined, process, core)
        self.joined.run()

    def of(self, process: str) -> list[Line]:
        return self.files[process].lines

    def sent(self) -> dict[str, list[bytes]]:
        actions = {"evcc": self.joined.evcc_actions, "secc": self.joined.secc_actions}
        return {name: [a.data for a in each if isinstance(a, Send)] for name, each in actions.items()}
