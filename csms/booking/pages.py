"""Money: journals in quarantine, and reports."""

from collections.abc import Mapping
from typing import Final

from csms.booking import api as quarantine
from csms.books import api as reports
from csms.console.bulk import Field, Question, Said, ask, picked, sure
from csms.console.listing import Act, Column, Listing, csv_file, show_pages
from csms.console.visit import ROOT, Visit, action, page, segment
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from v2g.energy.settlement.rows import csv_text
from v2g.typed_json import Fields

_FEW = 20
_QUARANTINE = f"{ROOT}/quarantine"

REASONS: Final = {"times": "wrong times", "evse": "EVSE", "feed_in": "feed in"}
"""What a page says instead of a reason's name."""

REVIEWS: Final = (
    Column("session", "Session", lambda row: row["session_id"]),
    Column("state", "State", lambda row: row["state"], "state"),
    Column("reason", "Reason", lambda row: REASONS.get(row["reason"], row["reason"]), "state"),
    Column("detail", "What is wrong", lambda row: row["detail"], "long"),
    Column(
        "station", "Station", lambda row: row["station_id"], href=lambda row: f"/stations/{segment(row['station_id'])}"
    ),
    Column("begun", "Begun", lambda row: row["begin_ms"], "time", phone=False),
    Column("ended", "Ended", lambda row: row["end_ms"], "time", phone=False),
    Column("due", "Waits until", lambda row: row["due_ms"] if row["state"] == "waiting" else None, "time", phone=False),
    Column(
        "transaction",
        "Transaction",
        lambda row: row["transaction_id"],
        "id",
        lambda row: f"/sessions/{segment(row['station_id'])}/{segment(row['transaction_id'])}",
        phone=False,
    ),
    Column("contradicts", "Contradicts", lambda row: _other(row), phone=False),
    Column("decided", "Decided", lambda row: " ".join(filter(None, (row["decided_by"], row["note"]))), phone=False),
)
STATES: Final = {
    "": "open", "waiting": "waiting", "quarantined": "quarantined", "released": "released", "rejected": "rejected",
}  # fmt: skip
DECIDED: Final = frozenset({"released", "rejected"})
BULK: Final = {"release": "Release …", "reject": "Reject …"}
DECISIONS: Final = {
    "release": (
        quarantine.release_journal,
        "Release {count} sessions?",
        "They are settled, posted and paid like any other.",
        "Release",
    ),
    "reject": (quarantine.reject_journal, "Reject {count} sessions?", "They are never booked.", "Reject"),
}


def _key(row: Mapping[str, object]) -> str:
    return f"{row['station_id']}/{row['session_id']}"


def _other(row: Fields) -> str | None:
    """Return which session a review contradicts: its station and EVSE, and its energy (Wh)."""
    other = row.get("contradicts")
    if other is None:
        return None
    energy = f", {other['import_wh'][0]} to {other['import_wh'][1]} Wh" if other["import_wh"] else ""
    return f"{other['session_id']} ({other['station_id']}, EVSE {other['evse_id']}{energy})"


@page("/quarantine", quarantine.list_quarantine)
async def list_quarantine(visit: Visit) -> Answer:
    """List journals that are not booked, and held transactions: those that are open, or of one state."""
    asked = visit.asked("state")
    unneeded = "due" if asked.get("state") in DECIDED else "decided"
    may = visit.may(quarantine.release_journal)

    def acts(row: Mapping[str, object]) -> list[Act]:
        fields = {"only": _key(row)}
        return [
            Act("/quarantine/change", label, {**fields, "do": do})
            for do, label in BULK.items()
            if row["state"] == "quarantined"
        ]

    shown = Listing(
        title="On hold",
        columns=[each for each in REVIEWS if each.name != unneeded],
        asked=asked,
        tab="state",
        tabs={name: (label, None) for name, label in STATES.items()},
        search=False,
        key=_key,
        bulk=("/quarantine/change", BULK) if may else None,
        acts=acts if may else None,
        empty="Nothing waits.",
    )
    return await show_pages(visit, shown, quarantine.list_quarantine, asked)


@action("/quarantine/change", quarantine.release_journal)
async def decide_reviews(visit: Visit) -> Answer:
    """Ask why journals or held transactions are booked, or never are, and decide."""
    visit.back, do = _QUARANTINE, visit.form.get("do", "")
    if do not in DECISIONS:
        raise ApiError(400, "a decision is release or reject")
    operation, text, effect, button = DECISIONS[do]
    found = {_key(each): each async for each in visit.every(quarantine.list_quarantine, state="quarantined")}
    keys = [each for each in picked(visit) if each in found]
    if not keys:
        if picked(visit):
            raise ApiError(409, "what was chosen is decided already")
        raise ApiError(409, "no session in quarantine is chosen", "choose some, by the boxes before them")
    effects = [
        Said("{subject}: {detail}", {"subject": key, "detail": _why(found[key])}) for key in keys[:_FEW]
    ]  # fmt: skip
    question = Question(
        text=text,
        values={"count": str(len(keys))},
        effects=[*effects, Said(effect)],
        button=button,
        fields=[Field("note", "Why", required=True)],
        tick=do == "reject",
    )
    note = visit.form.get("note", "").strip()
    if not sure(visit, len(keys)) or not note:
        return ask(visit, question, _QUARANTINE, len(keys), keys)
    failed: dict[str, Said] = {}
    for key in keys:
        station, _, session = key.partition("/")
        try:
            await visit.ask(operation, {"note": note}, station=station, session_id=session)
        except ApiError as error:
            failed[key] = Said("{subject}: {detail}", {"subject": key, "detail": error.detail})
    if failed:
        return ask(visit, question, _QUARANTINE, len(failed), list(failed), list(failed.values()))
    return visit.see(_QUARANTINE, "{count} sessions are decided.", count=len(keys))


def _why(row: Fields) -> str:
    return " ".join(filter(None, (row["reason"].replace("_", " "), row["detail"], _other(row))))


@page("/reports", reports.report_transactions)
async def show_report(visit: Visit) -> Answer:
    """Show energy and money by month, day, site, station, token or tariff."""
    asked = {"by": "month", **visit.asked("by", "from_day", "to_day")}
    found, following = await visit.page(reports.report_transactions, limit=200, **asked, **visit.asked("cursor"))
    return visit.show("reports.html", sums=found, next=following, asked=asked)


@page("/reports/table.csv", reports.report_transactions)
async def download_report(visit: Visit) -> Answer:
    """Send a report as CSV, whole."""
    asked = {"by": "month", **visit.asked("by", "from_day", "to_day")}
    lines = [each async for each in visit.every(reports.report_transactions, **asked)]
    names = tuple(reports.TransactionSum.__struct_fields__)
    text = csv_text(names, *([each[name] for name in names] for each in lines))
    return csv_file(f"report-by-{asked['by']}", text)
