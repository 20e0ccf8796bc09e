"""What an alert says to people: a sentence with units, and what happens by itself or has to be done.

Texts have fields in braces; catalogues of other languages have the same (`csms/console/texts`).
"""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from csms.alerts.rules import Alert, Mail
from csms.webhooks.rules import Announcement
from v2g.events import Severity
from v2g.text import age, moment, printable

_S: Final = "s"
"""Value of rules that count for how long something has been so: it grows while the alert is active."""


_SIGMA: Final = "\u03c3"


class Sentence(NamedTuple):
    """`one`: about one subject; `many`: about `{count}`; `then`: what follows; `unit`: of value and limit."""

    one: str
    many: str
    then: str
    unit: str = ""


SENTENCES: Final[Mapping[str, Sentence]] = {
    "station_offline": Sentence(
        "{subject} has been offline for {value}", "{count} stations are offline, the first for {value}",
        "Sessions go on, and are booked when it reconnects.", _S,
    ),
    "station_faulted": Sentence(
        "A connector of {subject} has been faulted for {value}",
        "{count} stations have a faulted connector, the first for {value}",
        "It cannot charge until the station reports it free.", _S,
    ),
    "station_not_attested": Sentence(
        "{subject} has not proven that its files are whole for {value}",
        "{count} stations have not proven that their files are whole, the first for {value}",
        "Look for changes at the station before you trust its readings.", _S,
    ),
    "over_temperature": Sentence(
        "{subject} has {value}; the limit is {limit}", "{count} are too hot; the first has {value}, limit {limit}",
        "Look at cooling and cables, if it does not lower its power itself.", "°C",
    ),
    "fuse_overloaded": Sentence(
        "A fuse of {subject} carries {value} more than it may", "Fuses of {count} sites carry more than they may",
        "Shares of vehicles are being lowered; find who does not obey.", "A",
    ),
    "grid_limit_exceeded": Sentence(
        "{subject} is {value} above its grid limit", "{count} connection points are above their grid limits",
        "Power is being lowered; find who does not obey.", "W",
    ),
    "limit_not_obeyed": Sentence(
        "{subject} is {value} above its share of a limit", "{count} stations are above their shares of a limit",
        "Others are lowered for it.", "W",
    ),
    "queue_ages": Sentence(
        "The oldest entry of {subject} has waited for {value}", "{count} queues wait, the first for {value}",
        "Nothing is lost; look whether its receiver answers.", _S,
    ),
    "node_gone": Sentence(
        "Back-end node {subject} has been silent for {value}", "{count} back-end nodes are silent",
        "Its stations reconnect elsewhere.", _S,
    ),
    "station_drifts": Sentence(
        "Sessions of {subject} have drifted by {value}; the limit is {limit}",
        "Sessions of {count} stations have drifted", "Its parts may be worn: inspect it.", _SIGMA,
    ),
    "station_differs": Sentence(
        "Sessions of {subject} differ by {value} from those of its make; the limit is {limit}",
        "Sessions of {count} stations differ from those of their make", "Its parts may be worn: inspect it.", _SIGMA,
    ),
    "station_certificate_expires": Sentence(
        "A certificate of {subject} expires in {value}", "Certificates of {count} stations expire",
        "It is renewed by itself where the station asks for that; else it can no longer connect.", "d",
    ),
    "station_certificate_ends": Sentence(
        "A certificate of {subject} expires in {value}, and has not been renewed",
        "Certificates of {count} stations expire within days",
        "Renew it now: the station can no longer connect, or vehicles will refuse it.", "d",
    ),
    "node_certificate_expires": Sentence(
        "The certificate of back-end node {subject} expires in {value}",
        "Certificates of {count} back-end nodes expire, the first in {value}",
        "Renew it: stations will no longer connect.", "d",
    ),
    "money_quarantined": Sentence(
        "Sessions on hold at {subject}: {value}", "Sessions of {count} stations are on hold",
        "They are not billed until somebody decides.",
    ),
    "vehicle_silent": Sentence(
        "{subject} has sent nothing for {value}", "{count} vehicles have sent nothing, the first for {value}",
        "Its gateway keeps what it measures, as long as it has room.", _S,
    ),
    "battery_unchecked": Sentence(
        "The battery of {subject} was last checked {value} ago", "The batteries of {count} vehicles need a check",
        "Measure its capacity, so that estimates stay right.", _S,
    ),
    "campaign_halted": Sentence(
        "Update {subject} has stopped", "{count} updates have stopped", "Look at the stations that failed, and decide."
    ),
    "update_failed": Sentence(
        "Update {subject} failed; stations not back: {value}", "{count} updates failed at stations",
        "Look at them before the next update.",
    ),
    "partner_silent": Sentence(
        "Roaming partner {subject} has been silent for {value}", "{count} roaming partners are silent",
        "What it is to be sent waits.", _S,
    ),
    "cdrs_refused": Sentence(
        "CDRs that {subject} has not taken: {value}", "{count} roaming partners do not take CDRs",
        "They are sent again: look at its deliveries for the reason.",
    ),
    "cdrs_disputed": Sentence(
        "Disputed CDRs of {subject}: {value}", "CDRs of {count} roaming partners are disputed",
        "They are not paid until somebody decides.",
    ),
    "cdr_missing": Sentence(
        "{subject} owes the CDR of a session that ended {value} ago", "{count} roaming partners owe CDRs",
        "Ask it: without a CDR a session is not paid.", _S,
    ),
    "price_unpublished": Sentence(
        "Partners see no price at {subject}; EVSEs: {value}", "Partners see no price at {count} stations",
        "OCPI cannot say its price plan, or its location has another time zone: partners need a plan of their own.",
    ),
    "cell_imbalance": Sentence(
        "A cell of {subject} deviates by {value}; the limit is {limit}", "Cells of {count} vehicles deviate",
        "Have the pack measured.", _SIGMA,
    ),
    "cell_spread": Sentence(
        "Cells of {subject} are {value} apart; the limit is {limit}", "Cells of {count} vehicles are apart",
        "Have the pack balanced.", "V",
    ),
    "cell_voltage_low": Sentence(
        "A cell of {subject} has only {value}; the limit is {limit}", "Cells of {count} vehicles are too low",
        "Do not discharge it further.", "V",
    ),
    "voltage_drop": Sentence(
        "The voltage of {subject} dropped by {value}", "The voltage of {count} vehicles dropped",
        "Have the pack and its contactors inspected.", "%",
    ),
    "thermal_runaway": Sentence(
        "The battery of {subject} heats up by itself", "The batteries of {count} vehicles heat up by themselves",
        "Keep people away, and call the fire brigade.",
    ),
    "soh_low": Sentence(
        "The battery of {subject} has {value} of its capacity left", "Batteries of {count} vehicles have lost capacity",
        "Plan its replacement.", "%",
    ),
}  # fmt: skip
"""By kind of an alert."""

OTHER: Final = Sentence("{subject}: {kind}", "{count} times {kind}", "")
"""Of kinds that programs beside this one report."""


def said(alert: Alert, count: int, now_ms: int) -> tuple[str, dict[str, str]]:
    """Return the sentence for `count` alerts, of which `alert` is the oldest, and the values of its fields."""
    about, value = SENTENCES.get(alert.kind, OTHER), alert.value
    if value is not None and about.unit == _S:
        value += max(0, (now_ms if alert.cleared_ms is None else alert.cleared_ms) - alert.changed_ms) / 1000
    shown = {
        "subject": alert.subject, "count": str(count), "kind": alert.kind.replace("_", " "),
        "value": quantity(value, about.unit), "limit": quantity(alert.limit, about.unit),
    }  # fmt: skip
    return (about.one if count == 1 else about.many), shown


def quantity(value: float | None, unit: str) -> str:
    """Return a value with its unit, a dash for none: seconds as an age, watts in kW, shares in %."""
    if value is None:
        return "\u2013"
    if unit == _S:
        return age(round(1000 * value))
    if unit == "d":
        return f"{max(0, int(value))}\u00a0d"
    if unit in ("W", "%"):
        return f"{value / 1000:.1f}\u00a0kW" if unit == "W" else f"{100 * value:.0f}\u00a0%"
    return f"{value:.3g}\u00a0{unit}" if unit and abs(value) < 1000 else f"{value:.0f}\u00a0{unit}".rstrip()


SEVERITIES: Final[Mapping[Severity, str]] = {"error": "Critical", "warning": "Warning"}
_ANNOUNCED: Final[Mapping[Announcement, str]] = {"alert_cleared": "Ended", "alert_escalated": "Not acknowledged"}

Texts = Mapping[str, str]
"""A catalogue: texts of a language by the English ones, which stay where it lacks them."""


def subject_line(mails: Sequence[Mail], now_ms: int, texts: Texts) -> str:
    """Return the subject of an e-mail about some announcements: the first one's sentence."""
    about = f"[V2G] {_line(mails[0], now_ms, texts)[:160]}"
    more = texts.get("and {count} more", "and {count} more").format(count=len(mails) - 1)
    return about if len(mails) == 1 else f"{about}, {more}"


def body(mails: Sequence[Mail], now_ms: int, zone: tzinfo, origin: str, texts: Texts) -> str:
    """Return the text of an e-mail, without control characters: of each announcement its sentence, what follows, when
    it began, and its number. `origin`: of the console, "" where it has none."""
    where = f"{origin}/console/alerts" if origin else "v2g csms alerts show ALERT"
    details = texts.get("Details", "Details")
    paragraphs = "\n\n".join(_paragraph(each, now_ms, zone, texts) for each in mails)
    return f"{paragraphs}\n\n{details}: {where}\n"


def _line(mail: Mail, now_ms: int, texts: Texts) -> str:
    alert = mail.alert
    text, fields = said(alert, 1, now_ms)
    begins = _ANNOUNCED.get(mail.announcement, SEVERITIES.get(alert.severity, "Information"))
    line = f"{texts.get(begins, begins)}: {texts.get(text, text).format_map(fields)}"
    return printable(line.replace("\u00a0", " "))


def _paragraph(mail: Mail, now_ms: int, zone: tzinfo, texts: Texts) -> str:
    alert = mail.alert
    parts = ["alert {number}, since {time}"]
    parts += ["ended {ended}"] if alert.cleared_ms is not None else []
    parts += ["began {count} times"] if alert.count > 1 else []
    fields = {
        "number": alert.alert_id, "time": moment(alert.raised_ms, zone), "count": alert.count,
        "ended": "" if alert.cleared_ms is None else moment(alert.cleared_ms, zone),
    }  # fmt: skip
    since = ", ".join(texts.get(each, each).format_map(fields) for each in parts)
    then = SENTENCES.get(alert.kind, OTHER).then if alert.cleared_ms is None else ""
    lines = (_line(mail, now_ms, texts), f"  {texts.get(then, then)}" if then else "", f"  {since}")
    return "\n".join(filter(None, lines))
