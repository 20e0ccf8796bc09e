"""What an alert says to people: a sentence with units, and what happens by itself or has to be done.

Texts have fields in braces; catalogues of other languages have the same (`csms/console/texts`).
"""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Final

import msgspec

from csms.alerts.rules import Alert, Mail
from csms.webhooks.rules import Announcement
from v2g.events import Severity
from v2g.tables import table
from v2g.text import age, moment, printable

_S: Final = "s"
"""Value of rules that count for how long something has been so: it grows while the alert is active."""


class Sentence(msgspec.Struct, frozen=True):
    """`one`: about one subject; `many`: about `{count}`; `then`: what follows; `unit`: of value and limit."""

    one: str
    many: str
    then: str
    unit: str = ""


SENTENCES: Final = table("csms.alerts", "sentences.toml", dict[str, Sentence])
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
