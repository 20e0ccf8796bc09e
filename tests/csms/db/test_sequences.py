"""Days of sessions by several stations on two nodes, some of them lies: what is booked is what truth delivered."""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import Connection, select

from csms.booking import held
from csms.db.store import Store
from csms.transactions.tables import transactions
from tests.csms.settlement.witness import report
from tests.csms.statements import before_each_statement
from v2g.energy.settlement.intervals import Registers

pytestmark = pytest.mark.requirement("R195")

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MIDNIGHT = 1_795_046_400_000
STATIONS = ("CS-1", "CS-2", "CS-3")
DOUBTED = 2
"""The lie that nothing tells from the truth: both are held, as no vehicle has signed for either."""


@dataclass(frozen=True)
class Told:
    """A session as its station reports it; `ahead_ms`: by so much its clock is ahead."""

    name: str
    station: str
    evse: int
    begin_ms: int
    lasts_ms: int
    begin_mwh: int
    taken_mwh: int
    contract: str
    ahead_ms: int = 0
    true: bool = True

    def readings(self) -> list[Registers]:
        """Return its registers at begin, in the middle and at the end, by its station's clock."""
        return [
            Registers(
                self.begin_ms + self.ahead_ms + self.lasts_ms * part // 2,
                self.begin_mwh + self.taken_mwh * part // 2,
                0,
            )
            for part in range(3)
        ]


def days(chance: random.Random, count: int) -> list[Told]:
    """Return sessions in order of their ends, each lie after the truth that it contradicts."""
    free = {(station, evse): MIDNIGHT for station in STATIONS for evse in (1, 2)}
    register = dict.fromkeys(free, 1_000_000)
    far: dict[tuple[str, int], int] = {}
    driver = {f"DEV2GC0000000{number}": MIDNIGHT for number in range(4)}
    told: list[Told] = []
    for number in range(count):
        place, contract = chance.choice(list(free)), chance.choice(list(driver))
        begin_ms = max(free[place], driver[contract]) + chance.randrange(2, 180) * MINUTE
        lasts_ms = chance.randrange(10, 240) * MINUTE
        taken_mwh = chance.randrange(1_000_000, 11_000 * lasts_ms // 3_600)
        true = Told(f"true-{number}", *place, begin_ms, lasts_ms, register[place], taken_mwh, contract)
        free[place] = driver[contract] = begin_ms + lasts_ms
        register[place] += taken_mwh
        told.append(true)
        if chance.random() < 0.6:
            told.append(lie(chance, true, far))
            if told[-1].evse == 1 and (told[-1].station, 1) == place and told[-1].begin_ms >= free[place]:
                free[place] = told[-1].begin_ms + told[-1].lasts_ms + HOUR  # no vehicle was there meanwhile
    return told


def lie(chance: random.Random, true: Told, far: dict[tuple[str, int], int]) -> Told:
    """Return what a station says beside a true session; `far`: the registers of stations that are not there."""
    kind = chance.randrange(7)
    false = replace(true, name=f"lie-{kind}-{true.name}", true=False)
    if kind == 0:  # the same one under another id
        return false
    if kind == 1:  # its registers, two hours later
        return replace(false, begin_ms=true.begin_ms + true.lasts_ms + 2 * HOUR)
    if kind in (DOUBTED, 6):  # its contract at another station at once; 6: whose register fell
        place = f"{true.station}-far", true.evse
        fallen_mwh = 1_000_000 if kind == 6 and place in far else 0
        begin_mwh = far.get(place, 5_000_000)
        far[place] = begin_mwh + (0 if fallen_mwh else true.taken_mwh)
        name = f"lie-{6 if fallen_mwh else DOUBTED}-{true.name}"
        return replace(false, name=name, station=place[0], begin_mwh=begin_mwh - fallen_mwh)
    if kind == 3:  # more than the EVSE can deliver
        return replace(false, begin_ms=true.begin_ms + true.lasts_ms + 2 * HOUR, lasts_ms=6 * MINUTE,
                       begin_mwh=true.begin_mwh + true.taken_mwh, taken_mwh=300_000_000)  # fmt: skip
    if kind == 4:  # 400 days ahead
        return replace(false, begin_ms=true.begin_ms + true.lasts_ms + 2 * HOUR, ahead_ms=400 * DAY,
                       begin_mwh=true.begin_mwh + true.taken_mwh)  # fmt: skip
    return replace(false, begin_ms=true.begin_ms + true.lasts_ms // 2, begin_mwh=true.begin_mwh + true.taken_mwh)


class Death(Exception):
    """The end of a node."""


@contextlib.contextmanager
def dying(store: Store, after: int) -> Iterator[None]:
    """Let a node die before its statement number `after`."""
    count = [0]

    def execute(_connection: Connection) -> None:
        count[0] += 1
        if count[0] > after:
            raise Death

    with before_each_statement(store, execute):
        yield


def deliver(nodes: list[Store], chance: random.Random, told: Told) -> None:
    """Let a station report a session to one node, and again to the other one where the first one dies."""
    work = (report, told.readings(), told.station, told.name)
    options: dict[str, Any] = {"emaid": told.contract, "evse_id": told.evse, "ahead_ms": told.ahead_ms}
    first, second = chance.sample(nodes, 2)
    with contextlib.suppress(Death), dying(first, chance.choice((chance.randrange(60), 10_000))):
        first.do(*work, **options)
        return
    second.do(*work, **options)


@pytest.mark.parametrize("seed", [1, *(pytest.param(each, marks=pytest.mark.long) for each in range(2, 42))])
def test_what_is_booked_is_what_happened(store_url: str, seed: int) -> None:
    chance = random.Random(seed)
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(contextlib.closing(Store(store_url))) for _ in range(2)]
        told = days(chance, 8 if seed == 1 else 40)
        for each in told:
            deliver(nodes, chance, each)
        known = nodes[0].do(lambda connection: set(connection.execute(select(transactions.c.transaction_id)).scalars()))
        assert known == {each.name for each in told}
        doubted = {each.name.removeprefix(f"lie-{DOUBTED}-") for each in told if not each.true}
        for each in told:
            found = nodes[1].do(held.find, each.station, each.name)
            assert (found is None) == (each.true and each.name not in doubted), (each, found)
            if found is not None and each.true:
                assert found["reason"] == "elsewhere", each
