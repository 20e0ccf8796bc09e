"""What no case sees: rules that hold for all that a platform has said in a run. Pure.

Each rule is a row of the report, after the cases. What the lab provoked by an answer that was wrong on purpose counts
as what it is: a repetition is due then.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

import msgspec

from v2g.errors import OcpiError
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiCdr
from v2g.ocpi.records import judge_cdr
from v2g.typed_json import Fields
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpi.forms import faults
from v2g_testkit.ocpi.partner import COUNTRY, HUB, PARTY, Exchange, LabPartner
from v2g_testkit.ocpp.run_judge import RunRule

Found = Iterator[str]
"""Violations; an empty text is a duty that was met."""

_KINDS: Final = {"locations": "Location", "tariffs": "Tariff", "sessions": "Session", "cdrs": "Cdr", "tokens": "Token",
                 "hubclientinfo": "ClientInfo"}  # fmt: skip
_PARTS: Final = {3: "Location", 4: "Evse", 5: "Connector"}
_NOT_ROUTED: Final = ("versions", "credentials", "hubclientinfo")
_NOT_IN_CDRS: Final = frozenset({"CURRENT", "ENERGY_EXPORT", "ENERGY_IMPORT", "POWER", "STATE_OF_CHARGE"})
_MOST_SHOWN: Final = 3
_PATIENCE: Final = 4
"""After so many times its patience the lab expects that what has failed would have come again."""


class _Run:
    """A run: what the lab has sent, and what it was sent."""

    def __init__(self, lab: LabPartner) -> None:
        self.lab = lab
        self.answers = [each for each in lab.exchanges if each.sent]
        self.requests = [each for each in lab.exchanges if not each.sent]
        self.pushes = [
            each for each in self.requests
            if each.role == "RECEIVER" and each.method in ("PUT", "PATCH", "POST") and each.module in _KINDS
        ]  # fmt: skip

    def listed(self, module: str) -> list[Fields]:
        """Return what the device's lists have shown."""
        base = self.lab.endpoints.get((module, "SENDER"), "")
        pages = [each.data for each in self.answers if base and each.ok and each.url.partition("?")[0] == base]
        return [item for page in pages if isinstance(page, list) for item in page if isinstance(item, dict)]


def _envelope(run: _Run) -> Found:
    for each in run.answers:
        if 200 <= each.status < 500 and each.status != 413:
            wrong = faults("Envelope", each.answer, run.lab.bench.version)
            yield _of(each, f"{each.said}: {wrong[0]}") if wrong else ""


def _no_defect(run: _Run) -> Found:
    for each in run.answers:
        if each.status or not each.planned:
            yield _of(each, each.said) if not 0 < each.status < 500 else ""


def _same_ids(run: _Run) -> Found:
    for each in run.answers:
        if each.status:
            lost = [name for name in ("x-request-id", "x-correlation-id")
                    if each.answer_headers.get(name) != each.headers.get(name)]  # fmt: skip
            yield (_of(each, f"{each.asked} is answered without the {lost[0]} of its request") if lost else "")


def _own_ids(run: _Run) -> Found:
    seen = set[str]()
    for each in run.requests:
        number = each.headers.get("x-request-id", "")
        if not number or not each.headers.get("x-correlation-id"):
            yield _of(each, f"{each.asked} has no X-Request-ID or X-Correlation-ID")
        else:
            yield (_of(each, f"{each.asked} has the X-Request-ID of an earlier one") if number in seen else "")
        seen.add(number)


def _tokens(run: _Run) -> Found:
    for each in run.requests:
        header = each.headers.get("authorization", "")
        if each.status == 401:
            yield _of(each, f"{each.asked} has not the token that the lab gave")
            continue
        written = {wire.authorization(token, bare=run.lab.bench.bare_token) for token in wire.tokens_in(header)}
        yield "" if header in written else _of(each, f"{each.asked} has its token in another encoding")


def _routing(run: _Run) -> Found:
    ours = {(COUNTRY.lower(), PARTY.lower()), (COUNTRY.lower(), HUB.lower()), ("fr", "bhd")}
    theirs = {(country.lower(), party.lower()) for country, party in run.lab.parties}
    for each in run.requests:
        names = ("ocpi-from-country-code", "ocpi-from-party-id", "ocpi-to-country-code", "ocpi-to-party-id")
        said = [each.headers.get(name, "").lower() for name in names]
        if each.module in _NOT_ROUTED:
            yield (_of(each, f"{each.asked} is not to be routed, and has routing headers") if any(said) else "")
        elif each.module in _KINDS:
            right = tuple(said[:2]) in theirs and tuple(said[2:]) in ours
            yield "" if right else _of(each, f"{each.asked} is routed from {said[:2]} to {said[2:]}")


def _objects(run: _Run) -> Found:
    for each in run.pushes:
        kind = _KINDS[each.module]
        kind = _PARTS.get(len(each.path), kind) if kind == "Location" else kind
        wrong = faults(kind, each.body, run.lab.bench.version, partly=each.method == "PATCH")
        yield _of(each, f"{each.method} {each.module}: {'; '.join(wrong[:_MOST_SHOWN])}") if wrong else ""


def _owner(run: _Run) -> Found:
    theirs = {(country.lower(), party.lower()) for country, party in run.lab.parties}
    for each in run.pushes:
        if each.module in ("hubclientinfo", "cdrs") or not isinstance(each.body, dict):
            continue
        whose = tuple(part.lower() for part in each.path[:2])
        names = ("country_code", "party_id", "uid" if each.module == "tokens" else "id")
        differ = [
            name for name, part in zip(names, each.path, strict=False)
            if len(each.path) == 3 and str(each.body.get(name, part)).lower() != part.lower()
        ]  # fmt: skip
        if whose not in theirs or differ:
            yield _of(each, f"{each.asked} is of another party or object than it says")
        else:
            yield ""


def _updated(run: _Run) -> Found:
    newest: dict[tuple[str, ...], int] = {}
    for each in run.pushes:
        when = _time(each.body)
        if when is None or each.module == "cdrs":
            continue
        key = (each.module, *(part.lower() for part in each.path))
        yield (_of(each, f"{each.asked} is older than what was sent before") if when < newest.get(key, 0) else "")
        newest[key] = max(when, newest.get(key, 0))


def _sessions(run: _Run) -> Found:
    last: dict[str, Fields] = {}
    for each in run.pushes:
        if each.module != "sessions" or not isinstance(each.body, dict) or not each.path:
            continue
        key = each.path[-1].lower()
        before, now = last.get(key, {}), {**last.get(key, {}), **each.body}
        last[key] = now
        if _number(now) < _number(before):
            yield _of(each, f"kwh of session {key} falls from {before['kwh']} to {now['kwh']}")
        elif before.get("status") in ("COMPLETED", "INVALID") and now.get("status") != before["status"]:
            yield _of(each, f"session {key} is {now.get('status')} after {before['status']}")
        elif before.get("cdr_token", now.get("cdr_token")) != now.get("cdr_token"):
            yield _of(each, f"session {key} has another token than before")
        else:
            yield ""


def _cdrs(run: _Run) -> Found:
    known: dict[str, Fields] = {}
    billed: dict[str, list[str]] = {}
    for each in run.pushes:
        if each.module != "cdrs" or not isinstance(each.body, dict):
            continue
        body, name = each.body, str(each.body.get("id")).lower()
        if name in known:
            yield "" if known[name] == body else _of(each, f"CDR {name} comes with another content")
            continue
        known[name] = body
        session = str(body.get("session_id") or "")
        bills = billed.setdefault(session, [])
        if body.get("credit"):
            credited = str(body.get("credit_reference_id") or "").lower()
            yield "" if credited in known else _of(each, f"credit CDR {name} takes back {credited or 'nothing'}")
            bills[:] = [other for other in bills if other != credited]
            continue
        yield _of(each, f"session {session} is billed twice: {bills[0]} and {name}") if session and bills else ""
        bills.append(name)
        types = {str(one.get("type")) for period in body.get("charging_periods") or () if isinstance(period, dict)
                 for one in period.get("dimensions") or () if isinstance(one, dict)}  # fmt: skip
        if wrong := types & _NOT_IN_CDRS:
            yield _of(each, f"CDR {name} has {min(wrong)}, which is for sessions only")
        yield from (_of(each, f"CDR {name}: {why}") for why in _judged(run.lab, body))


def _judged(lab: LabPartner, body: Fields) -> list[str]:
    """Return what is wrong with the totals, prices and signatures of a CDR."""
    try:
        cdr = wire.read(wire.inner(body), OcpiCdr)
    except OcpiError:
        return []  # its form is another rule's
    place = next((kept for (module, key), kept in lab.kept.items()
                  if module == "locations" and key.endswith(f"/{cdr.cdr_location.id.lower()}")), {})  # fmt: skip
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    return judge_cdr(cdr, {}, str(place.get("time_zone") or "UTC"), now_ms)


def _repeats(run: _Run) -> Found:
    for number, each in enumerate(run.requests):
        if not each.planned or each.module in _NOT_ROUTED or each.method not in ("PUT", "PATCH", "POST"):
            continue
        later = run.requests[number + 1 :]
        again = any((one.module, one.path[-1:]) == (each.module, each.path[-1:]) for one in later if not one.planned)
        waited = run.requests[-1].at_s - each.at_s > _PATIENCE * run.lab.bench.seconds
        if again or waited:
            yield "" if again else _of(each, f"{each.asked} has failed, and does not come again")


def _tariffs(run: _Run) -> Found:
    known = {key.rsplit("/", 1)[-1] for module, key in run.lab.kept if module == "tariffs"}
    listed = run.listed("tariffs")
    known |= {str(item.get("id")).lower() for item in listed}
    used = {
        str(name).lower()
        for place in run.listed("locations")
        for evse in place.get("evses") or () if isinstance(evse, dict) and evse.get("status") != "REMOVED"
        for connector in evse.get("connectors") or () if isinstance(connector, dict)
        for name in connector.get("tariff_ids") or ()
    }  # fmt: skip
    if listed:
        for name in sorted(used):
            yield "" if name in known else f"tariff {name} of a connector is in no list"


def _time(body: object) -> int | None:
    try:
        return wire.read_time(body["last_updated"]) if isinstance(body, dict) and "last_updated" in body else None
    except OcpiError:
        return None


def _number(session: Fields) -> float:
    said = session.get("kwh", 0)
    return 0.0 if isinstance(said, bool | str | dict | list | None) else float(said)


def _of(each: Exchange, text: str) -> str:
    return f"{each.case}: {text}" if each.case else text


class _Rule(msgspec.Struct, frozen=True):
    rule: RunRule
    find: Callable[[_Run], Found]


def _rule(name: str, required: str, clause: str, find: Callable[[_Run], Found]) -> _Rule:
    return _Rule(RunRule(id=f"RUN-{name}", required=required, requirements=(clause,)), find)


_RULES: Final = (
    _rule("ENVELOPE", "Every answer has status_code and timestamp.", "transport 4.1.7", _envelope),
    _rule("NO-DEFECT", "Every request is answered in time, and none by HTTP 5xx.", "transport 4.1.7", _no_defect),
    _rule("SAME-IDS", "An answer has the ids of its request.", "transport 4.3", _same_ids),
    _rule("OWN-IDS", "Requests have ids, and no two the same X-Request-ID.", "transport 4.3", _own_ids),
    _rule("TOKENS", "Requests have the token that the lab gave last, in base64.", "transport 4.1.1", _tokens),
    _rule("ROUTING", "Requests of functional modules are routed between the parties, others are not.",
          "transport 4.2.2", _routing),
    _rule("OBJECTS", "What is pushed has its form.", "the objects' pages", _objects),
    _rule("OWNER", "What is pushed is the device's own, and what its URL says.", "transport 4.1.6", _owner),
    _rule("UPDATED", "last_updated of an object does not go back.", "types: DateTime", _updated),
    _rule("SESSIONS", "kwh of a session does not fall, and its end is its end.", "sessions 9.1.1", _sessions),
    _rule("CDRS", "A CDR never changes, bills a session once, and its totals follow from periods and tariffs.",
          "cdrs 10.1", _cdrs),
    _rule("REPEATS", "What the lab did not take comes again.", "transport 4.1.4", _repeats),
    _rule("TARIFFS", "The tariffs of connectors are in the list.", "locations 8.3.3", _tariffs),
)  # fmt: skip

RULES: Final = tuple(each.rule for each in _RULES)


def judge_run(lab: LabPartner) -> list[Result]:
    """Return the result of each rule over all that was exchanged."""
    run = _Run(lab)
    return [_result(each, list(each.find(run))) for each in _RULES]


def _result(rule: _Rule, found: Sequence[str]) -> Result:
    wrong = [text for text in found if text]
    if wrong:
        kinds = [next(iter(same)) for _, same in groupby(wrong)]
        shown = "; ".join(kinds[:_MOST_SHOWN]) + (f"; {len(wrong)} in all" if len(wrong) > _MOST_SHOWN else "")
        return Result(case=rule.rule.id, verdict=Verdict.FAIL, found=shown)
    if not found:
        return Result(case=rule.rule.id, verdict=Verdict.NOT_EXERCISED, found="nothing that it judges has happened")
    return Result(case=rule.rule.id, verdict=Verdict.PASS, found=f"kept {len(found)} times")
