"""What remains to be done for a session that has ended: its last reading, its settlement, its report."""

import asyncio
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import msgspec
import pytest

from pki_tools.tree import PkiTree
from secc.evse.execution import Execution
from secc.evse.paused_session_store import PausedSessionFile
from secc.evse.session_records import RecordKeeping
from secc.hardware.evse import Evse
from secc.session import ports
from tests.secc.evse.desk import SESSION, Desk, started
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import SessionEnded
from v2g.errors import StoreError
from v2g.io.storage.journal_file import read_files

ENDED = ports.TransactionEnded(SESSION, "over_voltage", "Other", None)


class StillClosed:
    """An outlet whose contactor opens a second after an EmergencyOff."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def execute(self, command: object) -> None:
        """Do nothing."""

    async def counted(self) -> None:
        self._desk.meter.flow(self._desk.clock.utc_ms(), 400_000, 300_000)
        self._desk.meter.flow(self._desk.clock.utc_ms() + 1000, 0, 0)


def ended(desk: Desk, reported: list[object], keeping: RecordKeeping | None = None) -> Execution:
    """Return the execution of a session that has just ended, whose reports to the back end are noted."""
    execution = Execution(
        lambda _: None, keeping or desk.keeping(), PausedSessionFile(desk.folder), cast("Evse", StillClosed(desk)),
        Mock(), None, lambda command: reported.append(command),
    )  # fmt: skip
    execution.begin(desk.owner.chargers[0])
    execution.execute(ports.Journal(started(desk), desk.clock.utc_ms()))
    execution.execute(ports.CloseJournal("over_voltage"))
    execution.execute(ENDED)
    return execution


@pytest.mark.requirement("R32")
async def test_a_journal_ends_with_what_flowed_until_the_contactor_had_opened(tmp_path: Path, pki: PkiTree) -> None:
    """Else the back end's meter values, which are read later, contradict it."""
    desk, reported = Desk(tmp_path, pki), list[object]()
    execution = ended(desk, reported)
    assert reported == []
    await execution.settled()
    last = verify_lines(read_files(desk.archive.settlements / SESSION, desk.keys)["journal.jsonl"])[-1].data
    assert isinstance(last, SessionEnded)
    assert last.import_mwh == desk.meter.read(0).import_mwh > 0
    assert reported == [ENDED]


async def test_the_end_of_a_transaction_is_reported_also_where_its_registers_cannot_be_stored(
    tmp_path: Path, pki: PkiTree
) -> None:
    """Else it goes on at the back end until the charger starts again."""
    desk, reported = Desk(tmp_path, pki), list[object]()
    desk.meter.save = Mock(side_effect=StoreError("disk full"))  # type: ignore[method-assign]
    await ended(desk, reported).settled()
    assert reported == [ENDED]
    assert "books_failed" in desk.names()


class Copies:
    """The queue of copies for the back end. The disk is full for the first line, and later for `full` journals."""

    def __init__(self, *, full: int = 0) -> None:
        self.lines: list[str] = []
        self.journals: list[tuple[str, list[str]]] = []
        self._full = full

    def add(self, _session_id: str, line: str) -> asyncio.Future[None]:
        self.lines.append(line)
        return self._done(full=len(self.lines) == 1)

    def replace(self, session_id: str, lines: list[str]) -> asyncio.Future[None]:
        self.journals.append((session_id, lines))
        return self._done(full=len(self.journals) <= self._full)

    @staticmethod
    def _done(*, full: bool) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        if full:
            done.set_exception(StoreError("disk full"))
        else:
            done.set_result(None)
        return done


@pytest.mark.parametrize("full", [0, 1])
async def test_a_journal_whose_copy_has_a_gap_is_copied_whole_before_it_goes(
    tmp_path: Path, pki: PkiTree, full: int
) -> None:
    """Else the back end refuses all lines behind the gap. Where the disk is still full, the next start copies it."""
    desk, copies = Desk(tmp_path, pki), Copies(full=full)
    keeping = msgspec.structs.replace(desk.keeping(), on_line=copies.add, on_journal=copies.replace)
    await ended(desk, [], keeping).settled()
    bundle = desk.archive.settlements / SESSION
    ((session_id, lines),) = copies.journals
    assert (session_id, lines) == (SESSION, copies.lines)
    assert bundle.exists() == (not full)
    assert ("bundle_failed" in desk.names()) == bool(full)
    recovered = list[str]()
    desk.archive.recover(desk.meter, lambda _session_id, lines: recovered.extend(lines))
    assert recovered == (lines if full else [])


async def test_a_journal_whose_copy_is_whole_is_not_copied_again(tmp_path: Path, pki: PkiTree) -> None:
    desk, copies = Desk(tmp_path, pki), Copies()
    copies.lines.append("an earlier one")
    keeping = msgspec.structs.replace(desk.keeping(), on_line=copies.add, on_journal=copies.replace)
    await ended(desk, [], keeping).settled()
    assert (desk.archive.settlements / SESSION).exists()
    assert copies.journals == []
