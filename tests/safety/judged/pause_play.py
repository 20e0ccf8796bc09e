"""Plays lists of steps to a whole EVSE (`secc.evse.controller`) with messages: the vehicle can pause, come back and
join what it has left, and everything else may happen in between. See `play`; this one's command is
`python -m tests.safety.judged.pause_play KIND '[[...], ...]'`.
"""

import asyncio
import random
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.app import edition
from secc.evse.controller import EvseController, EvseWires
from secc.evse.ports import LinkDown
from secc.hardware.assembly import Assembled
from secc.hardware.config import HardwareConfig, Kind
from secc.session import ports
from secc.session.config import EnergyService, SeccConfig
from secc.session.edition import EditionSession, NegotiatedSession
from tests.safety.controllers import Desk, Disk, Shelf, credentials, grid_signal, program
from tests.safety.judged import play as player
from tests.safety.judged.play import FAULTS, TOLD, Play
from tests.safety.judged.rig import Car, Pipe
from tests.safety.judged.steps import Step, script
from v2g.energy.limits import OPERATOR, SITE, GridResponse, Limit
from v2g.errors import V2GError
from v2g.iec61851.pilot import PilotState
from v2g.io.runtime.clock import Clock
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.slac.evse import EvseSlacConfig
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.transactions.managed import RemoteStopRequested

SERVICES: Final[Mapping[Kind, tuple[EnergyService, ...]]] = {
    "dc": (EnergyService.DC, EnergyService.DC_BPT),
    "ac": (EnergyService.AC, EnergyService.AC_BPT),
    "wpt": (EnergyService.WPT,),
    "acdp": (EnergyService.DC_ACDP,),
}
SITE_W: Final = 40_000
BACK_W: Final = 10_000


class Stream(Pipe):
    """A connection of the vehicle, as TLS has it."""

    version, cipher, group, peer_name = "TLSv1.3", "TLS_AES_256_GCM_SHA384", "secp521r1", "vehicle"
    own = None

    def __init__(self, sent: Any, leaf: bytes) -> None:
        super().__init__(sent)
        self.peer_leaf = leaf


class PausePlay(Play):
    """A whole EVSE whose judge observes everything."""

    def __init__(
        self,
        pki: PkiTree,
        kind: Kind,
        config: SeccConfig,
        made: Assembled,
        car: Car,
        clock: Clock,
        faults: Any,
        *,
        folder: Path,
        number: int = 1,
    ) -> None:
        transport, owner = credentials(pki)
        self.all_events = []
        place = program(
            pki,
            folder,
            charger=replace(config, services=SERVICES[kind], basic=None),
            hardware=HardwareConfig(kind=kind),
        )
        if kind in ("dc", "ac"):
            place = replace(place, link=replace(place.link, slac=EvseSlacConfig()))
        place = replace(place, site=replace(place.site, charge_w=SITE_W, discharge_w=SITE_W))
        self.disk, self.desk = Disk(), Desk(says=AuthorizationStatus.ACCEPTED)
        self.controller = EvseController(
            number, place, clock, lambda event: self.observe(event), transport, owner,
            Shelf(folder, owner, clock=clock, observe=self.all_events.append), made.meter, made.evse, made.safety,
            EvseWires(made.pilot) if made.pilot is not None else None, self.disk, self.disk,
            editions={"20": edition("20")},
        )  # fmt: skip
        self.controller.backend = self.desk
        self.controller.connect_wires()
        self._wish: float | None = None
        self._line_ma: tuple[int | None, int | None] = (None, None)
        self._allowed = {SITE: (SITE_W, SITE_W), OPERATOR: (SITE_W, BACK_W)}
        self._known: EditionSession | None = None
        self._left = bytes(8)
        self.leaf = b"a certificate"
        super().__init__(pki, kind, config, made, car, clock, faults)
        self.limits = tuple(Limit(source=name, charge_w=a, discharge_w=b) for name, (a, b) in self._allowed.items())

    # -- the rig

    def connect(self, paused: Any = None) -> None:
        """Begin a connection."""
        if not hasattr(self, "judge"):
            self._signal()
        self.pipe = Stream(self._take, self.leaf)
        stream: Any = self.pipe
        self.running = self.loop.create_task(self._serve(stream))
        self._unsubscribe = lambda: None

    async def _serve(self, stream: Any) -> None:
        await self.controller.vehicle(stream, lambda known: known)

    @property
    def session(self) -> Any:  # type: ignore[override]
        """The core that runs, or ran last."""
        if isinstance(self.controller.session, NegotiatedSession):
            self._known = self.controller.session.session
        return self._known

    @property
    def runner(self) -> Any:  # type: ignore[override]
        """Who ends it."""
        return SimpleNamespace(abort=lambda reason: self.controller.fact(LinkDown(reason)))

    def _seen(self) -> None:
        self._known = self.session
        super()._seen()
        error = self.running.exception() if self.running.done() and not self.running.cancelled() else None
        if error is not None and not isinstance(error, V2GError) and "it broke down" not in self.judge.wrong:
            self.judge.wrong.append("it broke down")

    def tell(self, *facts: Any) -> None:
        """Pass it on, also to the judge; the EVSE reads the pilot by itself."""
        for fact in facts:
            if hasattr(self, "judge"):
                self._hear(fact)
            if not isinstance(fact, ports.PilotChanged):
                self.controller.tell(fact)

    def _signal(self) -> None:
        charge_w, discharge_w = self._allowed[OPERATOR]
        signal = grid_signal(self._version(), charge_w=charge_w, discharge_w=discharge_w)
        self.controller.grid_changed(self.controller.grid.signal(signal))

    def _profile(self) -> None:
        charge_w, discharge_w = self._allowed[SITE]
        charge_a, discharge_a = (None if ma is None else ma / 1000 for ma in self._line_ma)
        allowance = ProfileLimits(
            charge_w=charge_w,
            discharge_w=discharge_w,
            setpoint_w=self._wish,
            charge_a=charge_a,
            discharge_a=discharge_a,
        )
        self.controller.grid_changed(self.controller.grid.profiles(allowance))

    # -- steps

    async def do_limit(self, source: str, charge_w: int, discharge_w: int) -> None:
        self._allowed[source] = (charge_w, discharge_w)
        self._line_ma = (None, None) if source == SITE else self._line_ma
        self.judge.limit(Limit(source=source, charge_w=charge_w, discharge_w=discharge_w))
        (self._profile if source == SITE else self._signal)()

    async def do_line(self, source: str, charge_ma: int | None, discharge_ma: int | None) -> None:
        """A profile in A; signals name none."""
        self._allowed[SITE], self._line_ma = (SITE_W, SITE_W), (charge_ma, discharge_ma)
        most = Limit(source=SITE, charge_w=SITE_W, discharge_w=SITE_W)
        self.judge.limit(replace(most, charge_ma=charge_ma, discharge_ma=discharge_ma))
        self._profile()

    async def do_setpoint(self, power_w: int | None) -> None:
        self._wish = power_w
        self._profile()

    async def do_grid(self, ceiling_w: int | None, floor_w: int | None, delta_w: int = 0, trip: bool = False) -> None:
        self.judge.grid(ceiling_w, floor_w, trip=trip)
        self.controller.tell(*self.controller.grid.respond(GridResponse(delta_w, floor_w, ceiling_w, trip=trip)))

    async def do_tariff(self) -> None:
        self._signal()

    def _forgotten(self) -> None:
        self._seen()
        self.judge.forgotten()

    async def do_stop(self, reason: str = "deauthorized") -> None:
        """Whoever is there is to end, or has paused."""
        self._seen()
        kept, reference = self.controller.paused, self.desk.reference
        if kept is not None:
            self._forgotten()
            self.controller.fact(RemoteStopRequested(reference=kept.session_id.hex(), cause=reason))
        elif reference and self.controller.busy:
            self.judge.stop(self.now)
            self.controller.fact(RemoteStopRequested(reference=reference, cause=reason))

    async def do_end(self, reason: str = "reset") -> None:
        """Everything is to end: what runs, and what has paused."""
        if self.controller.busy:
            self.judge.stop(self.now)
        self._forgotten()
        kept = self.controller.paused
        for reference in {self.desk.reference, "" if kept is None else kept.session_id.hex()} - {""}:
            self.controller.fact(RemoteStopRequested(reference=reference, cause=reason))
        self.controller.tell(ports.StopRequested(reason))

    async def do_suspend(self, suspended: bool) -> None:
        """The identifier has turned out to be invalid, or is valid again (E05)."""
        most_w = 0 if suspended else 10 * SITE_W
        self.judge.limit(Limit(source="authorization", charge_w=most_w, discharge_w=most_w))
        self.controller.grid_changed(self.controller.grid.suspend(suspended))

    async def do_serve(self, operative: bool) -> None:
        self.controller.fact(Serve(evse_id=1, operative=operative))

    async def do_disk(self, seconds: float) -> None:
        self.disk.seconds = seconds

    async def do_unplug(self) -> None:
        await super().do_unplug()
        if self.kind in ("dc", "ac"):
            await asyncio.sleep(0.01)
            if not self.controller.busy:
                self._forgotten()

    async def do_pause(self) -> None:
        """Leave in good order, to come back."""
        if self.running.done():
            return
        if self.session.state.value.endswith("charge_loop"):
            await self.say("PowerDeliveryReq", charge_progress=cm.ChargeProgress.Stop)
            await asyncio.sleep(0.1)
        self.car.switch(closed=False)
        self._show(PilotState.B)
        await self.do_say("SessionStopReq", "Pause")
        await self.do_leave()

    async def do_leave(self) -> None:
        """Close the connection, whatever was said on it."""
        self.pipe.incoming.put_nowait(b"")
        await asyncio.wait([self.running], timeout=4)

    async def do_come(self) -> None:
        """Connect again, and agree on the protocol."""
        if not self.running.done():
            return
        await self._anew()
        await self.say("SupportedAppProtocolReq", within=1.0)

    async def do_join(self) -> None:
        """Name the session that was left."""
        if not self.running.done():
            await self.say("SessionSetupReq", within=1.0, header=self.header(session_id=self._left))

    async def do_return(self) -> None:
        """Come back, and join."""
        await self.do_come()
        await self.do_join()

    async def do_again(self) -> None:
        """Another connection, by the same vehicle, when the last one is over; at once where it lives on."""
        if not self.running.done():
            self.controller.fact(LinkDown("gone"))
        await asyncio.wait([self.running], timeout=14)
        await asyncio.sleep(0.3)
        if self.kind in ("dc", "ac"):
            self.car.pilot.unplug()
            self.car.switch(closed=False)
            await asyncio.sleep(0.2)
            self._forgotten()
            self.car.pilot.plug()
            await asyncio.sleep(0.2)
        await self._anew()

    async def _anew(self) -> None:
        self._seen()
        self.judge.begin()
        self.setup, self.discharge, self.signed_frames = None, None, []
        self.disk.seconds = 0.0
        self.framer = type(self.framer)()
        before, self._known = self.session, None
        self._left = self._left if before is None else before.session_id
        self.connect()
        for _ in range(100):
            await asyncio.sleep(0.1)
            if self.controller.busy or self.running.done():
                break
        self._known = self.session or before
        self._agreed()


AWAY: Final[tuple[Step, ...]] = (
    ("stop", "deauthorized"),
    ("stop", "energy_limit"),
    ("end", "reset"),
    *(("limit", source, *watts) for source in (SITE, OPERATOR) for watts in ((0, 0), (3_000, 1_000), (40_000, 9_000))),
    ("setpoint", -5_000),
    ("grid", 0, 0),
    ("grid", 0, 0, 0, True),
    ("grid", 4_000, None),
    ("suspend", True),
    ("serve", False),
    ("tariff",),
    ("unplug",),
    ("wait", 65.0),
    ("disk", 4.0),
    *(("fault", name) for name in FAULTS),
    ("fact", "HardwareFault"),
    ("fact", "PauseRequested"),
)
"""What can happen while a vehicle is away, comes back, or has joined."""

ENDINGS: Final[Mapping[str, tuple[Step, ...]]] = {
    "pauses": (("pause",),),
    "pauses after a stop": (("stop", "energy_limit"), ("pause",)),
    "pauses under power": (("say", "SessionStopReq", "Pause"), ("leave",)),
    "pauses before the loop": (("pause",),),
    "is cut off while it pauses": (("say", "SessionStopReq", "Pause"), ("abort",)),
    "ends": (("say", "PowerDeliveryReq", "Stop"), ("say", "SessionStopReq", "Terminate"), ("leave",)),
}
"""How a vehicle leaves."""

AFTER: Final[tuple[Step, ...]] = (("charge",), ("sign", 6_000), ("loop", 2.5), ("wait", 8.0))


def play(pki: PkiTree, folder: Path, kind: Kind, steps: Sequence[Step], **how: Any) -> list[str]:
    """See `tests.safety.judged.play.play`."""
    return player.play(pki, folder, kind, steps, made=partial(PausePlay, folder=folder), **how)


def command(kind: Kind, steps: Sequence[Step], *, scheduled: bool = False) -> str:
    """Return a command that plays the steps again."""
    return script("tests.safety.judged.pause_play", (kind, "scheduled") if scheduled else (kind,), steps)


def wander(kind: Kind, seed: int, count: int) -> list[Step]:
    """Return random steps with many pauses among them."""
    chance = random.Random(f"pauses {kind} {seed}")
    steps: list[Step] = []
    for step in player.wander(kind, seed, count):
        steps.append(step)
        if chance.random() > 0.08 or step[0] == "phases":  # "to" may follow, which leads there from the beginning only
            continue
        if chance.random() < 0.7:
            steps += [("charge",), ("loop", 0.5)]
        steps += chance.choice((*[ENDINGS["pauses"]] * 4, *ENDINGS.values()))
        steps += [chance.choice((*AWAY, *TOLD)) for _ in range(chance.choice((0, 0, 1, 2)))]
        steps += [("wait", chance.choice((0.05, 0.5, 3.0)))]
        if chance.random() < 0.3:
            steps += [("come",), chance.choice(AWAY), ("join",)]
        else:
            steps += [("return",)]
        if chance.random() < 0.7:
            steps += [("charge",), ("loop", 1.0)]
    return steps[:count]


if __name__ == "__main__":
    sys.exit(player.main(sys.argv[1:], play))
