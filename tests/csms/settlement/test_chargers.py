"""Signed discharge counts by the charger that its station is known by: stations that sign with another's key."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding

from csms.accounts.rules import Role as Caller
from csms.config import StationEntry
from csms.db.store import open_store
from csms.station_security import store as security
from pki_tools.issuing import CertificateOrder, issue_certificate
from pki_tools.tree import PkiTree
from tests.csms.conftest import Start
from tests.csms.settlement.liar import Station, begin_after, decided, options
from tests.csms.settlement.lies import MINUTE_MS, STATION, charger_named, delivered, session_of, signal_at
from tests.csms.support import TOKENS, Running
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import Credentials
from v2g.pki.profile import Role

OTHER = "CS-V2G-0002"
SUBJECT = "DC=CPO,C=DE,O=V2G Engine Operator,CN="
FIRST = "DEV2GS00000000000000000000000000000001X"
SECOND = "DEV2GS00000000000000000000000000000002X"
BOOKED = ("booked", "", "")


@dataclass
class Stations:
    """A back end and its stations, which deliver one session after the other."""

    csms: Running
    pki: PkiTree
    start_ms: int
    connections: dict[str, Station] = field(default_factory=dict)
    sessions: list[str] = field(default_factory=list)

    async def deliver(
        self, charger: Credentials | None = None, station: str = STATION, *, discharge: str = "signed"
    ) -> tuple[str, str, str]:
        """Deliver a session with a charger's certificate, or the first one's; return state, reason, and detail."""
        session = (len(self.sessions) + 1).to_bytes(8)
        self.sessions.append(session.hex())
        made = session_of(
            self.pki,
            self.start_ms + (len(self.sessions) - 1) * 4 * MINUTE_MS,
            charger=charger or "secc",
            station_id=station,
            session_id=session,
            tariff=signal_at(self.start_ms).tariff(),
            discharge=discharge,
            feeds_back=discharge == "signed",
        )
        story, connection = delivered(made), self.connections[station]
        await connection.transact(story, f"tx-{session.hex()}", len(self.sessions))
        await connection.deliver(story, session.hex())
        assert self.csms.hand is not None
        self.csms.hand.advance(1)
        await self.csms.csms.bookkeeper.consider_waiting()
        return self.decided(station)

    def decided(self, station: str = STATION) -> tuple[str, str, str]:
        """Return what was decided about the last session."""
        review, _ = decided(self.csms, self.sessions[-1], station)
        assert review is not None
        return review.state, review.reason, review.detail

    async def release(self) -> None:
        """Release the last session, as an operator does."""
        url = f"https://127.0.0.1:{self.csms.csms.ports['api']}/books/quarantine/{self.sessions[-1]}/release"
        headers = {"Authorization": f"Bearer {TOKENS[Caller.BILLING]}"}
        async with (
            aiohttp.ClientSession(headers=headers) as client,
            client.post(url, json={"note": "replaced yesterday"}, ssl=self.csms.context(None)) as response,
        ):
            assert response.status == 200, await response.text()


@pytest_asyncio.fixture
async def stations(start: Start, pki: PkiTree, tmp_path: Path) -> AsyncIterator[Stations]:
    """Two stations that have taken prices."""
    more = PkiTree(tmp_path / "pki")
    shutil.copytree(pki.directory, more.directory)
    order = CertificateOrder(role=Role.STATION, name="csms/station-2", common_name=OTHER)
    issue_certificate(more.directory, order, at=load_certificate(pki.chain("secc")[0]).not_valid_before_utc)
    leaves = {STATION: "csms/station", OTHER: "csms/station-2"}
    entries = tuple(StationEntry(id=each) for each in leaves)
    start_ms = begin_after(0)
    async with start(stations=entries, **options(start_ms)) as csms, contextlib.AsyncExitStack() as stack:
        await csms.csms.grid.offer(signal_at(start_ms), "test")
        found = Stations(csms, pki, start_ms)
        for number, (name, leaf) in enumerate(leaves.items(), 1):
            websocket = await stack.enter_async_context(csms.connect(name, leaf=str(more.path(leaf))))
            found.connections[name] = Station(csms, websocket, name=name)
            await found.connections[name].boot()
            await Station(csms, websocket).take_prices()
            await csms.event("grid_signal_pushed", number)
        yield found


@pytest.mark.long
async def test_a_station_cannot_use_the_charger_of_another(stations: Stations, pki: PkiTree) -> None:
    """The other one is not in its way: each goes on with its own."""
    assert await stations.deliver() == BOOKED
    found = await stations.deliver(pki.credentials("secc"), OTHER)
    assert found == ("quarantined", "charger", f"charger {SUBJECT}{FIRST} is station {STATION}'s")
    assert await stations.deliver(charger_named(pki, SECOND), OTHER) == BOOKED
    assert await stations.deliver() == BOOKED


@pytest.mark.long
async def test_a_second_charger_needs_an_operator_once(stations: Stations, pki: PkiTree) -> None:
    """By releasing its session the operator takes it for the station's, also from another station."""
    second = charger_named(pki, SECOND)
    assert await stations.deliver() == BOOKED
    found = await stations.deliver(second)
    detail = f"charger {SUBJECT}{SECOND} is new, the station is known by {SUBJECT}{FIRST}"
    assert found == ("quarantined", "charger", detail)
    await stations.release()
    assert stations.decided()[0] == "released"
    assert await stations.deliver(second) == BOOKED
    assert await stations.deliver() == BOOKED
    assert (await stations.deliver(second, OTHER))[:2] == ("quarantined", "charger")
    await stations.release()
    assert await stations.deliver(second, OTHER) == BOOKED
    assert (await stations.deliver(second))[:2] == ("quarantined", "charger")


@pytest.mark.long
async def test_a_renewed_certificate_is_of_the_same_charger(stations: Stations, pki: PkiTree) -> None:
    assert await stations.deliver(charger_named(pki, SECOND)) == BOOKED
    assert await stations.deliver(charger_named(pki, SECOND)) == BOOKED
    assert (await stations.deliver(charger_named(pki, SECOND), OTHER))[:2] == ("quarantined", "charger")


@pytest.mark.long
async def test_a_certificate_with_the_identity_of_a_station_is_of_that_one(stations: Stations, pki: PkiTree) -> None:
    """Whichever comes first, and beside another charger."""
    assert (await stations.deliver(charger_named(pki, STATION), OTHER))[:2] == ("quarantined", "charger")
    assert await stations.deliver() == BOOKED
    assert await stations.deliver(charger_named(pki, STATION)) == BOOKED


@pytest.mark.long
async def test_a_certificate_that_the_back_end_issued_is_of_its_station(stations: Stations, pki: PkiTree) -> None:
    second = charger_named(pki, SECOND)
    issued = load_certificate(second.leaf)
    with contextlib.closing(open_store(stations.csms.config.store_url, stations.csms.config.data_dir)) as store:
        store.do(
            lambda connection: security.add_certificate(
                connection,
                serial=f"{issued.serial_number:x}",
                station_id=OTHER,
                kind="V2G20Certificate",
                subject=issued.subject.rfc4514_string(),
                issued_ms=0,
                until_ms=2**53,
                status="Accepted",
                pem=issued.public_bytes(Encoding.PEM).decode(),
            )
        )
    assert (await stations.deliver(second))[:2] == ("quarantined", "charger")
    assert await stations.deliver(charger_named(pki, "A"), OTHER) == BOOKED
    assert await stations.deliver(second, OTHER) == BOOKED


@pytest.mark.long
async def test_certificates_stay_as_they_were_judged(stations: Stations, pki: PkiTree) -> None:
    """A release is about the charger that was in quarantine, whatever its station delivers meanwhile."""
    assert await stations.deliver() == BOOKED
    second, third = charger_named(pki, SECOND), charger_named(pki, "third")
    assert (await stations.deliver(second))[:2] == ("quarantined", "charger")
    chains = delivered(session_of(pki, stations.start_ms, charger=third))
    await stations.connections[STATION].certify(chains, stations.sessions[-1])
    await stations.release()
    assert await stations.deliver(second) == BOOKED
    assert (await stations.deliver(third))[:2] == ("quarantined", "charger")


async def test_a_charger_counts_where_it_signs(stations: Stations, pki: PkiTree) -> None:
    """A chain is public: without signatures it neither takes a charger nor needs one."""
    assert await stations.deliver(pki.credentials("secc"), OTHER, discharge="none") == BOOKED
    assert await stations.deliver() == BOOKED
    assert await stations.deliver(pki.credentials("secc"), OTHER, discharge="none") == BOOKED
