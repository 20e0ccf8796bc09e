"""Evidence of a session, checked here: the back end's copy of a journal, and bundles that others hand in."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from csms.books.operator_key import BooksKeys
from csms.console.listing import Column, Listing, show_pages
from csms.console.visit import Visit, action, page, segment
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.services import Services
from csms.settlements import api as settlements
from v2g.energy.settlement.bundle import verify_bundle
from v2g.energy.settlement.checkpoints import read_copies
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.report import Report
from v2g.errors import VerificationError
from v2g.pki.credentials import load_chain
from v2g.typed_json import Fields
from v2g.units import decimals_of

MAX_BUNDLE: Final = 16_000_000
"""Octets of all files of an uploaded bundle; one of a day has some 2 MB."""


SETTLEMENTS: Final = (
    Column(
        "session",
        "Session",
        lambda row: row["session_id"],
        href=lambda row: f"/settlements/{segment(row['station_id'])}/{segment(row['session_id'])}/verify",
    ),
    Column(
        "station", "Station", lambda row: row["station_id"], href=lambda row: f"/stations/{segment(row['station_id'])}"
    ),
    Column("contract", "Contract", lambda row: row["document"]["emaid"], phone=False),
    Column("begun", "Begun", lambda row: row["document"]["begin"]["utc_ms"], "time", phone=False),
    Column("ended", "Ended", lambda row: row["document"]["end"]["utc_ms"], "time", phone=False),
    Column("taken", "Taken", lambda row: _flowed(row["document"], "import_mwh"), "energy", phone=False),
    Column("fed_back", "Fed back", lambda row: _flowed(row["document"], "export_mwh"), "energy"),
    Column("balance", "To pay", lambda row: _owed(row["document"]), "money"),
    Column("computed", "Computed", lambda row: row["computed_ms"], "time", phone=False),
)


def _flowed(document: Fields, way: str) -> float:
    return float(document["end"][way] - document["begin"][way]) / 1000


def _owed(document: Fields) -> list[dict[str, str]]:
    """Return what is to be paid, in each currency; below 0 to the driver."""
    totals = document["totals"]
    return [{"amount": decimals_of(each["balance"]), "currency": each["currency"]} for each in totals]


@page("/settlements", settlements.list_settlements)
async def list_settlements(visit: Visit) -> Answer:
    """List settlements, by station and session."""
    asked = visit.asked("station_id")
    shown = Listing(
        title="Settlements",
        columns=SETTLEMENTS,
        asked=asked,
        filters={"station_id": ("Station", None)},
        search=False,
        key=lambda row: f"{row['station_id']}/{row['session_id']}",
        empty="No settlement. One is computed when a journal is released or complete.",
    )
    return await show_pages(visit, shown, settlements.list_settlements, asked)


@page("/settlements/{station_id}/{session_id}/verify", settlements.read_settlement)
async def verify_copy(visit: Visit) -> Answer:
    """Check the back end's copy of a journal now: its chain, and that the stored settlement follows from it."""
    which = {"session_id": visit.path["session_id"], "station": visit.path["station_id"]}
    found = await visit.ask(settlements.read_settlement, **which)
    lines: list[str] = []
    if visit.may(settlements.read_journal):
        journal = await visit.ask(settlements.read_journal, **which)
        try:
            entries = await asyncio.to_thread(verify_lines, journal, name=which["session_id"])
        except VerificationError as error:
            lines.append(f"The chain is broken: {error}")
        else:
            lines.append(f"The chain of {len(entries)} entries is unbroken; its head is {entries[-1].hash}.")
    same = "follows" if found["intact"] else "does not follow"
    lines.append(f"The stored settlement {same} from the copy of the journal.")
    return _shown(visit, found["session_id"], lines, verified=found["intact"])


@page("/verify", settlements.list_settlements)
async def ask_for_bundle(visit: Visit) -> Answer:
    """Ask for a bundle."""
    return _shown(visit, "", [])


@action("/verify", settlements.list_settlements, most_octets=MAX_BUNDLE)
async def verify_uploaded(visit: Visit) -> Answer:
    """Verify a bundle with this back end's roots, its key, and the countersigned checkpoints that it has itself."""
    files = {name.rpartition("/")[2]: content for name, content in visit.files.items()}
    if not files:
        raise ApiError(400, "no files", "choose all files of a bundle's folder")
    services = visit.services
    try:
        report = await asyncio.to_thread(_verify, files, services, None)
        session = report.settlement.session_id
        with contextlib.suppress(ApiError):  # without its journal here, or of several stations
            copies: bytes = await visit.ask(settlements.read_checkpoints, session_id=session)
            report = await asyncio.to_thread(_verify, files, services, copies)
    except VerificationError as error:
        return _shown(visit, "", [f"{error.where}: {error}" if error.where else str(error)], verified=False)
    missing = [] if report.complete else ["Incomplete: only charger and meter signed that the session ended there."]
    return _shown(visit, session, [*report.lines(), *missing], verified=True)


def _verify(files: Mapping[str, bytes], services: Services, copies: bytes | None) -> Report:
    # 0.03 s for messages that a back end may never see
    from v2g.iso15118.signed_requests import read_authorization, read_confirmation

    return verify_bundle(
        files,
        anchors=[der for root in services.config.trust.roots for der in load_chain(root)],
        now=datetime.fromtimestamp(services.clock.utc_ms() / 1000, UTC),
        confirmations=read_confirmation,
        authorizations=read_authorization,
        copies=read_copies(copies, name="copy of the back end") if copies else None,
        operators=services[BooksKeys].public,
    )


def _shown(visit: Visit, session_id: str, lines: list[str], *, verified: bool | None = None) -> Answer:
    return visit.show("verify.html", 200, found=session_id, lines=lines, verified=verified)
