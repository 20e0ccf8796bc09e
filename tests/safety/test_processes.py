"""Charger and vehicle as processes that are stopped, killed, held up, and given a slow disk while power flows.

Board, power modules and line are in this process (`tests/safety/outside.py`), whose clock measures: no word of the
programs is believed.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import pytest
import pytest_asyncio

from pki_tools.tree import PkiTree
from tests.patient import PatientLoop
from tests.safety.launcher import HANG, SLOW, SLOW_CALL, SLOW_DISK, SLOW_DRIVER
from tests.safety.outside import Outside, OutsideAc, OutsideDc, Record, Seen, Watcher
from tests.secc_toml import identity
from v2g.hardware.power_modules.bank import HOLDS_S
from v2g.io.runtime.watchdog import HUNG_S
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.iso15118.d20.services import ServiceId
from v2g.slac.shared import FAST
from v2g_cli.demo.processes import free_port

pytestmark = pytest.mark.e2e

ROOT: Final = Path(__file__).parents[2]

LOST_S: Final = float(os.environ.get("V2G_LOST_S", "1.0"))
"""Silence after which board and charger give each other up, s. 0.1 at a real charger; here the machine is shared."""

MODULES_LOST_S: Final = min(2.0, 5 * LOST_S)
"""The same of power modules, s. 0.5 at a real charger."""

SLACK_S: Final = 0.5
"""What a busy machine may add, s, beside what this process itself was kept waiting."""

SILENT_S: Final = 1.0 + 0.35
"""A charger's patience in the charge loop, and the monitor's."""

VEHICLE_S: Final = 0.5 + 0.85
"""The same of a vehicle."""

STRAYED_S: Final = 1.0
"""How long another current, or one in the other direction, may flow than was commanded."""

EXCESS_S: Final = 1.0
"""How long a vehicle may draw twice what it may, where that has not just changed."""

METER_S: Final = 0.2
"""How old what a meter has measured may be, s (`hardware.modbus.poll_s`)."""

TRIES: Final = 20
"""How often a vehicle comes until power flows. While the charger's program is kept from running for LOST_S, its board
gives it up, as it has to, and the session ends before that: with 0.1 s on a machine that is busy this is the rule."""

TRY_S: Final = 20.0
"""How long a vehicle stays without power: a charger that its board has given up needs it to leave."""

LOW_V: Final = 60
DISCHARGE_S: Final = 0.7
"""What the simulated modules' output takes to fall below it, s."""

SLAC: Final = "\n".join(f"{name} = {value}" for name, value in msgspec.to_builtins(FAST).items())


class Place:
    """One charger, one vehicle, and what is measured between them."""

    def __init__(self, folder: Path, pki: PkiTree) -> None:
        self.folder, self._pki = folder, pki
        self._port = free_port(socket.SOCK_DGRAM)
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = contextlib.ExitStack()
        self.line = Record()
        self._struck = self._late = 0.0

    async def charge(self, *, hardware: bool = True) -> None:
        """Let direct current flow. With `hardware` board and modules are outside of the charger's program, and switch
        off by themselves when they hear nothing; without, they are simulated inside of it, and nothing else switches
        off."""
        medium = await FolderMedium.attach(self.folder / "medium", "outside")
        self._ending.callback(medium.close)
        tables = ""
        if hardware:
            self.line = parts = OutsideDc(medium, lost_s=LOST_S)
            tables = (
                f'stage = "can"\n{self._wired(parts)}[hardware.can]\ninterface = "serial"\n'
                f'channel = "{parts.port}"\nlost_s = {MODULES_LOST_S}\n'
            )
        else:
            self.line = Watcher(medium)
        await self._flow(tables, "DC")

    async def charge_ac(self) -> None:
        """Let alternating current flow; board, mains and meter are outside of the charger's program."""
        medium = await FolderMedium.attach(self.folder / "medium", "outside")
        self._ending.callback(medium.close)
        self.line = parts = OutsideAc(medium, lost_s=LOST_S)
        meter = f'[hardware.modbus]\ndevice = "{parts.port}"\nmap = "generic"\n'
        await self._flow(f'kind = "ac"\nmeter = "modbus"\n{self._wired(parts)}{meter}', "AC")

    def _wired(self, parts: Outside) -> str:
        """Let a board be there as long as this place; return its tables."""
        self._ending.callback(parts.close)
        return f'pilot = "board"\n[hardware.board]\ndevice = "{parts.board}"\nlost_s = {LOST_S}\n'

    async def _flow(self, hardware: str, service: Literal["AC", "DC"]) -> None:
        self._start("secc", self._charger(hardware, service))
        await self.until(lambda: self.named("secc", "ready"))
        for _ in range(TRIES):
            await self.until(self._tested)
            vehicle, until = self._start("evcc", self._vehicle(service)), time.monotonic() + TRY_S
            while vehicle.poll() is None and time.monotonic() < until:
                if self.line.now.amperes > 10:
                    return
                await asyncio.sleep(0.01)
            vehicle.kill()
            await asyncio.to_thread(vehicle.wait)
        pytest.fail(self.logs())

    def _tested(self) -> bool:
        """Say whether the charger has passed its last self-test; it is repeated while nobody is plugged in."""
        tests = [each for each in self.named("secc", "checked") if each["check"] == "self_test"]
        return bool(tests) and tests[-1]["passed"]

    def strike(self, program: str, how: signal.Signals) -> float:
        """Let a program be struck; return when."""
        at = self.begin()
        self.go_on(program, how)
        return at

    def begin(self, at: float | None = None) -> float:
        """Measure from now on, or from a moment (s, CLOCK_MONOTONIC) that has just been; return it."""
        self._struck, self._late = time.monotonic() if at is None else at, self._lateness
        return self._struck

    def go_on(self, program: str, how: signal.Signals = signal.SIGCONT) -> None:
        """Send a signal that is not what is measured from."""
        self._programs[program].send_signal(how)

    @property
    def board(self) -> Outside:
        """What is outside of the charger's program, whatever the current."""
        assert isinstance(self.line, Outside)
        return self.line

    @property
    def modules(self) -> OutsideDc:
        """The same with direct current."""
        assert isinstance(self.line, OutsideDc)
        return self.line

    @property
    def mains(self) -> OutsideAc:
        """The same with alternating current."""
        assert isinstance(self.line, OutsideAc)
        return self.line

    async def ends(self, held: Callable[[Seen], bool]) -> float:
        """Wait until something does not hold any more; return how long that took from when it happened, s."""
        await self.until(lambda: not held(self.line.now))
        return self.line.last(held, since=self._struck)

    async def goes_off(self, note: "Note", most_s: float) -> float:
        """Wait until the charger's output is off; return how long it took, which is noted, and no more than allowed."""
        off_s = await self.ends(lambda each: each.on)
        reported(note, charger=off_s)
        assert off_s <= self.allowed(most_s)
        return off_s

    def allowed(self, seconds: float) -> float:
        """Return what may have been measured for so many seconds."""
        return seconds + SLACK_S + 2 * (self._lateness - self._late)

    @property
    def _lateness(self) -> float:
        """For how long this process could not run so far, s: its loop does not count that (tests/patient.py)."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, PatientLoop)
        return loop.late_s()

    async def until(self, holds: Callable[[], object], seconds: float = 300.0) -> None:
        """Wait for it."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"{self.line.seen[-5:]}\n{self.logs()}"
            await asyncio.sleep(0.01)

    def named(self, program: str, name: str) -> list[dict[str, Any]]:
        """Return what a program has reported under a name."""
        path = self.folder / f"{program}.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event["data"] for event in events if event["name"] == name]

    def faulted(self, word: str) -> bool:
        """Say whether the charger has reported this fault."""
        return any(each["fault"] == word for each in self.named("secc", "fault_began"))

    def logs(self) -> str:
        """Return the ends of what the programs have logged."""
        return "\n".join(path.read_text()[-3000:] for path in self.folder.glob("*.log"))

    async def close(self) -> None:
        """End everything."""
        for each in self._programs.values():
            each.kill()
            await asyncio.to_thread(each.wait)
        self._ending.close()

    def _start(self, name: str, text: str) -> "subprocess.Popen[bytes]":
        config = self.folder / f"{name}.toml"
        config.touch(mode=0o600)
        config.write_text(text)
        events = self.folder / f"{name}.jsonl"
        command = [sys.executable, "-m", "tests.safety.launcher", name, "--config", config, "--events", events]
        with (self.folder / f"{name}.log").open("wb") as log:
            self._programs[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        return self._programs[name]

    def _charger(self, hardware: str, service: Literal["AC", "DC"]) -> str:
        pki = self._pki
        return f"""data_dir = "secc"
[link]
medium = "medium"
[link.slac.timing]
{SLAC}
[sdp]
port = {self._port}
{identity(pki, "v2g", "oem", "mo", ocsp=True)}
[site]
contracts = ["DEV2GC00000001"]
[charger]
services = [{ServiceId[service].value}]
[hardware]
{hardware}
"""

    def _vehicle(self, service: Literal["AC", "DC"]) -> str:
        pki = self._pki
        return f"""[link]
medium = "medium"
[link.slac.timing]
{SLAC}
[sdp]
port = {self._port}
[tls]
chain = "{pki.path("vehicle/chain.pem")}"
key = "{pki.path("vehicle/leaf.key")}"
anchors = ["{pki.path("v2g/root.pem")}"]
[contract]
chain = "{pki.path("contract/chain.pem")}"
key = "{pki.path("contract/leaf.key")}"
[services]
energy = ["{service}"]
control_mode = ["dynamic"]
[[program]]
do = "charge"
for_s = 600
"""


@pytest_asyncio.fixture
async def place(tmp_path: Path, pki: PkiTree) -> AsyncIterator[Place]:
    place = Place(tmp_path, pki)
    yield place
    await place.close()


Note = Callable[[str, object], None]


def reported(note: Note, **seconds: float) -> None:
    """Show how long it took: with `pytest -s`, and in a report."""
    for name, value in seconds.items():
        note(name, round(value, 3))
    sys.stderr.write(",".join(f" {name} {value:.3f} s" for name, value in seconds.items()) + "\n")


@pytest.mark.parametrize("how", [signal.SIGSTOP, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
async def test_hardware_and_vehicle_let_go_of_a_charger_that_is_stopped_or_killed(
    place: Place, how: signal.Signals, record_property: Note
) -> None:
    await place.charge()
    struck = place.strike("secc", how)
    off_s, vehicle_s = await place.ends(lambda each: each.on), await place.ends(lambda each: each.vehicle_closed)
    low_s = await place.ends(lambda each: each.volts >= LOW_V)
    reported(record_property, charger=off_s, vehicle=vehicle_s, voltage=low_s)
    assert off_s <= place.allowed(LOST_S)
    assert vehicle_s <= place.allowed(VEHICLE_S)
    assert low_s <= place.allowed(HOLDS_S + DISCHARGE_S)
    if how == signal.SIGSTOP:  # it comes back, and takes nothing up again
        place.go_on("secc")
        await place.until(lambda: place.named("secc", "session_ended"))
        assert place.line.last(lambda each: each.on, since=struck) == off_s


@pytest.mark.long
async def test_the_boards_dead_man_opens_when_nobody_else_can(place: Place, record_property: Note) -> None:
    await place.charge()
    place.go_on("evcc", signal.SIGSTOP)  # it would show B, on which the board opens, too
    place.strike("secc", signal.SIGSTOP)
    off_s, low_s = await place.ends(lambda each: each.on), await place.ends(lambda each: each.volts >= LOW_V)
    reported(record_property, charger=off_s, voltage=low_s)
    assert off_s <= place.allowed(LOST_S)
    assert low_s <= place.allowed(HOLDS_S + DISCHARGE_S)


@pytest.mark.long
async def test_modules_and_vehicle_are_what_is_left_when_the_contactor_is_welded_and_the_charger_stopped(
    place: Place, record_property: Note
) -> None:
    await place.charge()
    place.board.weld()
    place.strike("secc", signal.SIGSTOP)
    current_s, low_s = await place.ends(lambda each: each.flows), await place.ends(lambda each: each.volts >= LOW_V)
    reported(record_property, current=current_s, voltage=low_s)
    assert place.line.now.closed
    assert current_s <= place.allowed(VEHICLE_S)
    assert low_s <= place.allowed(HOLDS_S + DISCHARGE_S)


@pytest.mark.parametrize("hardware", [pytest.param(True, marks=pytest.mark.long), False])
async def test_power_goes_off_while_the_chargers_event_loop_hangs(
    place: Place, hardware: bool, record_property: Note
) -> None:
    """By the board's dead-man where there is a board, else by the watchdog's thread."""
    await place.charge(hardware=hardware)
    struck = place.strike("secc", HANG)
    off_s = await place.goes_off(record_property, LOST_S if hardware else HUNG_S)
    await place.until(lambda: place.named("secc", "session_ended"))
    assert place.line.last(lambda each: each.on, since=struck) == off_s


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL, HANG])
async def test_a_charger_lets_go_of_a_vehicle_that_is_stopped_or_killed_or_hangs(
    place: Place, how: signal.Signals, record_property: Note
) -> None:
    await place.charge()
    place.strike("evcc", how)
    await place.goes_off(record_property, SILENT_S)
    if how == HANG:  # the vehicle's own watchdog
        vehicle_s = await place.ends(lambda each: each.vehicle_closed)
        reported(record_property, vehicle=vehicle_s)
        assert vehicle_s <= place.allowed(HUNG_S)


@pytest.mark.long
async def test_a_slow_disk_does_not_keep_the_power_on(place: Place, record_property: Note) -> None:
    """The vehicle falls silent, and what the charger writes into its journal about it takes 10 s."""
    await place.charge()
    place.go_on("secc", SLOW_DISK)
    place.strike("evcc", signal.SIGSTOP)
    await place.goes_off(record_property, SILENT_S)
    await place.until(lambda: SLOW in place.logs())


@pytest.mark.long
async def test_the_output_goes_off_at_an_emergency_stop_though_the_contactor_is_stuck(
    place: Place, record_property: Note
) -> None:
    await place.charge()
    place.board.weld()
    place.begin()
    place.board.press_stop()
    current_s = await place.ends(lambda each: each.flows)
    reported(record_property, current=current_s)
    assert place.line.now.closed
    assert current_s <= place.allowed(0.0)
    await place.until(lambda: place.faulted("contactor_welded"))


@pytest.mark.long
async def test_power_goes_off_when_the_modules_measure_that_it_flows_the_other_way(
    place: Place, record_property: Note
) -> None:
    await place.charge()
    place.go_on("evcc", signal.SIGSTOP)  # it would end the session by what it is shown, before the charger has to
    place.begin()
    place.modules.turn_sign()
    await place.goes_off(record_property, STRAYED_S)
    await place.until(lambda: place.faulted("power_not_obeyed"), 5)  # and not for the vehicle's silence


@pytest.mark.long
@pytest.mark.parametrize(
    ("what", "why"), [("lines", f"no response for {LOST_S * 1000:.0f} ms"), ("readings", "does not execute commands")]
)
async def test_power_goes_off_when_the_board_says_nothing_new(
    place: Place, what: Literal["lines", "readings"], why: str, record_property: Note
) -> None:
    await place.charge()
    before = len(place.named("secc", "board_lost"))
    place.begin()
    place.board.repeat_board(what)
    current_s, off_s = await place.ends(lambda each: each.flows), await place.ends(lambda each: each.on)
    reported(record_property, current=current_s, charger=off_s)
    assert current_s <= place.allowed(LOST_S)
    assert off_s <= place.allowed(2 * LOST_S)
    await place.until(lambda: len(place.named("secc", "board_lost")) > before)
    assert place.named("secc", "board_lost")[before]["why"] == why


@pytest.mark.long
async def test_power_goes_off_when_the_modules_repeat_what_they_said(place: Place, record_property: Note) -> None:
    await place.charge()
    place.begin()
    place.modules.repeat_modules()
    await place.goes_off(record_property, MODULES_LOST_S)


@pytest.mark.long
@pytest.mark.parametrize("hardware", [True, False])
async def test_power_goes_off_while_a_driver_keeps_the_charger_waiting(
    place: Place, hardware: bool, record_property: Note
) -> None:
    """By the board's dead-man or the watchdog; what was commanded before, the driver does not do after."""
    await place.charge(hardware=hardware)
    place.go_on("secc", SLOW_DRIVER)
    await place.until(lambda: SLOW_CALL in place.logs())
    struck = place.begin(float(place.logs().split(SLOW_CALL)[1].split()[0]))
    off_s = await place.goes_off(record_property, LOST_S if hardware else HUNG_S)
    await place.until(lambda: place.named("secc", "session_ended"))
    assert place.line.last(lambda each: each.on, since=struck) == off_s


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL, HANG])
async def test_alternating_current_goes_off_when_the_charger_is_stopped_or_killed_or_hangs(
    place: Place, how: signal.Signals, record_property: Note
) -> None:
    await place.charge_ac()
    struck = place.strike("secc", how)
    off_s, vehicle_s = await place.ends(lambda each: each.on), await place.ends(lambda each: each.vehicle_closed)
    reported(record_property, charger=off_s, vehicle=vehicle_s)
    assert off_s <= place.allowed(LOST_S)
    assert vehicle_s <= place.allowed(VEHICLE_S)
    if how != signal.SIGKILL:  # it comes back, and takes nothing up again
        place.go_on("secc")
        await place.until(lambda: place.named("secc", "session_ended"))
        assert place.line.last(lambda each: each.on, since=struck) == off_s


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL, HANG])
async def test_alternating_current_goes_off_when_the_vehicle_is_stopped_or_killed_or_hangs(
    place: Place, how: signal.Signals, record_property: Note
) -> None:
    """A vehicle that is stopped goes on drawing."""
    await place.charge_ac()
    place.strike("evcc", how)
    await place.goes_off(record_property, SILENT_S)


@pytest.mark.long
async def test_a_vehicle_that_draws_more_than_its_limit_is_cut_off(place: Place, record_property: Note) -> None:
    await place.charge_ac()
    place.begin()
    place.mains.draw(2)
    await place.goes_off(record_property, EXCESS_S + METER_S)
    await place.until(lambda: place.faulted("over_current"), 5)  # and not for anything else


@pytest.mark.long
async def test_a_vehicle_stops_drawing_at_an_emergency_stop_though_the_contactor_is_stuck(
    place: Place, record_property: Note
) -> None:
    await place.charge_ac()
    place.board.weld()
    place.begin()
    place.board.press_stop()
    current_s = await place.ends(lambda each: each.flows)
    reported(record_property, current=current_s)
    assert place.line.now.closed
    assert current_s <= place.allowed(VEHICLE_S)
