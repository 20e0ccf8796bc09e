"""Reports of a conformance test: JUnit XML, and pages with every case and the messages of its sessions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from v2g.errors import StoreError
from v2g.look import document
from v2g.text import printable
from v2g_cli.output import write_text
from v2g_testkit.cases.case import Described, Result, Verdict
from v2g_testkit.cases.report import NOTICE, failures_first, junit, not_run, totals

_STYLE: Final = """
td:first-child{white-space:nowrap}#cases td:nth-child(2){min-width:12em}#cases td{overflow-wrap:anywhere}
body:has(#open:checked) #cases tr:has(td.pass,td.not-applicable){display:none}
@media (max-width:45em){#cases thead{display:none}#cases tr{display:block;border-bottom:1px solid var(--line);
padding:.4em 0}#cases td{display:block;border:0;padding:.1em 0}
#cases td:nth-child(n+3)::before{content:attr(data-of) " ";color:var(--dim)}}
"""
_TONES: Final = {
    Verdict.PASS: " good",
    Verdict.FAIL: " bad",
    Verdict.OPEN: " busy",
    Verdict.INCONCLUSIVE: " warn",
    Verdict.NOT_EXERCISED: " warn",
}

_JUDGED_ID: Final = "judged"
JUDGED: Final = f'id="{_JUDGED_ID}"'
"""Marks the message on a case's page by which it was judged."""

GROUPS: Final = {
    "A": "Security", "B": "Provisioning", "C": "Authorization", "D": "Local authorization list", "E": "Transactions",
    "F": "Remote control", "G": "Availability", "H": "Reservation", "I": "Tariff and cost", "J": "Metering",
    "K": "Smart charging", "L": "Firmware", "M": "Certificates", "N": "Diagnostics", "O": "Display messages",
    "P": "Data transfer", "Q": "Bidirectional power", "R": "Distributed energy resources", "S": "Battery swapping",
    "AUT": "Authorisation", "CONNECT": "Connection", "COS": "Power factor by power", "LFSM": "Power by frequency",
    "PV": "Power by voltage", "QP": "Reactive power by power", "QV": "Reactive power by voltage",
    "RIDE": "Ride through", "SWEEP": "Sweeps", "SWING": "Oscillations", "TRIP": "Protection",
    "COD": "Response codes", "CPO": "Operator", "END": "End of a session",
    "GTP": "V2GTP headers", "HUB": "Hub", "INS": "Installation of contracts", "MSP": "Provider", "MUX": "Side streams",
    "NOT": "Notices of the charger", "ONG": "Ongoing for ever", "PAR": "Charge parameters", "PAU": "Pause",
    "PULL": "Pulled lists", "REG": "Registration", "RUN": "Complete sessions", "SAF": "Safety",
    "SAP": "Protocol negotiation", "SDP": "Discovery of the charger", "SEQ": "Order of messages",
    "SES": "New sessions", "SID": "Session IDs", "SIL": "Silence", "SVC": "Services", "TIM": "Times",
    "TYP": "Responses to another request", "WRN": "Warnings",
}  # fmt: skip
"""Names of groups of cases, by the part of their ids."""

_DEVICES: Final = {
    "secc": "a charger (SECC)",
    "evcc": "a vehicle (EVCC)",
    "station": "a charging station (OCPP)",
    "csms": "a back end (CSMS)",
    "eebus": "a controllable system (EEBUS)",
    "gridcode": "a charger at a grid code",
    "ocpi": "a roaming platform (OCPI)",
}


def write_junit(
    file: Path,
    device: str,
    about: Mapping[str, str],
    cases: Iterable[Described],
    results: Iterable[Result],
    notice: str = NOTICE,
) -> None:
    """Write JUnit's XML. Raises StoreError."""
    write_text(file, junit(f"v2g conform {device}", about, cases, results, notice))


def prepare(junit_file: Path | None, pages: Path | None) -> None:
    """Create the folders of the reports before the test starts. Raises StoreError."""
    if junit_file is not None:
        make_folder(junit_file.parent, "--junit needs a file name")
        if junit_file.is_dir():
            raise StoreError(f"{junit_file}: is a folder", hint="--junit needs a file name")
    if pages is not None:
        make_folder(pages, "--html needs a folder")


def make_folder(folder: Path, hint: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}", hint=hint) from None


def write_pages(
    folder: Path,
    device: str,
    about: Mapping[str, str],
    cases: Sequence[Described],
    results: Sequence[Result],
    page: Callable[[str, str], str | None],
    notice: str = NOTICE,
) -> None:
    """Write the table, failures first, and a page for each case in which messages were exchanged. Raises StoreError.

    `about` describes the test: device, time, versions. `page` returns a case's page by its id and title, if any.
    """
    by_id = {case.id: case for case in cases}
    linked = set()
    for each in results:
        if write_page(folder, by_id[each.case], page, each):
            linked.add(each.case)
    title = f"Conformance test of {_DEVICES[device]}"
    counted = ", ".join(f"{n} {verdict.value}" for verdict, n in totals(results).items())
    rows = "\n".join(_row(by_id[each.case], each, linked=each.case in linked) for each in failures_first(results))
    rows += "".join(
        '\n<tr><td><span class="state">not run</span></td>'
        f"<td>{escape(case.id)}<br/>{escape(case.title)}</td>"
        f'<td data-of="required">{escape(case.required)}</td><td></td></tr>'
        for case in not_run(by_id.values(), results)
    )
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(printable(text))}</dd>" for name, text in about.items())
    body = (
        f"<h1>{escape(title)}</h1>"
        f'<section class="card"><dl class="pairs">{facts}</dl><p>{escape(counted)}</p><p>{escape(notice)}</p></section>'
        f'\n{_by_group(by_id, results)}<p><label><input type="checkbox" id="open"/> only what did not pass</label></p>'
        '<div class="card scroll"><table id="cases"><thead><tr><th>Verdict</th><th>Case</th><th>Required</th>'
        f"<th>Seen</th></tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )
    write_text(folder / "index.html", document(title, body, style=_STYLE))


def write_page(folder: Path, case: Described, page: Callable[[str, str], str | None], result: Result) -> bool:
    """Write the page of a case, and return whether it has one. Raises StoreError."""
    text = page(case.id, f"{case.id}: {case.title}")
    if text is not None:
        head, end, rest = text.partition("</h1>")
        write_text(folder / f"{case.id}.html", f"{head}{end}{_verdict(case, result, judged=JUDGED in rest)}{rest}")
    return text is not None


def _verdict(case: Described, result: Result, *, judged: bool) -> str:
    """Return what a case's page begins with: verdict, why, what would be right, and the message that was judged."""
    tone = _TONES.get(result.verdict, "")
    why = f"open: {case.open}" if case.open and result.verdict is Verdict.OPEN else result.found
    facts = {"Seen": why, "Right would be": case.required}
    facts |= {"Requirement": ", ".join(case.requirements)} if case.requirements else {}
    facts |= {"Also known as": ", ".join(each for each in case.published if each != case.id)}
    rows = "".join(f"<dt>{name}</dt><dd>{escape(printable(text))}</dd>" for name, text in facts.items() if text)
    link = f'<p><a href="#{_JUDGED_ID}">The message that was judged</a></p>' if judged else ""
    said = f'<p><span class="state{tone}">{result.verdict.value}</span></p>'
    return f'<section class="card">{said}<dl class="pairs">{rows}</dl>{link}</section>\n'


def _by_group(cases: Mapping[str, Described], results: Sequence[Result]) -> str:
    """Return how many cases of each group have which verdict, if there are several groups."""
    groups: dict[str, list[Result]] = {}
    for each in results:
        groups.setdefault(cases[each.case].group, []).append(each)
    if len(groups) < 2:
        return ""
    header = "".join(f"<th>{verdict.value}</th>" for verdict in Verdict)
    rows = "".join(
        f"<tr><td>{escape(' '.join(filter(None, (GROUPS.get(group), group))))}</td>"
        + "".join(f"<td>{n or ''}</td>" for n in totals(found).values())
        + "</tr>"
        for group, found in sorted(groups.items())
    )
    head = f"<thead><tr><th>Group</th>{header}</tr></thead>"
    return f'<div class="card scroll"><table>{head}<tbody>{rows}</tbody></table></div>\n'


def _row(case: Described, result: Result, *, linked: bool) -> str:
    name, verdict, tone = escape(case.id), result.verdict.value, _TONES.get(result.verdict, "")
    shown = f'<a href="{name}.html">{name}</a>' if linked else name
    ids = f" <small>{escape(', '.join(case.requirements))}</small>" if case.requirements else ""
    others = [each for each in case.published if each != case.id]
    also = f"<br/><small>{escape(', '.join(others))}</small>" if others else ""
    why = f"<br/><small>open: {escape(case.open)}</small>" if case.open and result.verdict is Verdict.OPEN else ""
    return (
        f'<tr><td class="{verdict.replace(" ", "-")}"><span class="state{tone}">{verdict}</span></td>'
        f'<td>{shown}<br/>{escape(case.title)}{also}</td><td data-of="required">{escape(case.required)}{ids}</td>'
        f'<td data-of="seen">{escape(result.found)}{why}</td></tr>'
    )
