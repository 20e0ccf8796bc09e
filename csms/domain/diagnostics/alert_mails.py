"""E-mails about alerts: who gets which, and their text."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from csms.domain.diagnostics.alerts import Alert, Announcement, may_read, readable
from csms.domain.security.access import Principal, Role, evs_of
from v2g.events import Severity
from v2g.text import printable

MOST_LINES: Final = 100
"""Announcements in one e-mail."""

MOST_WAIT_MS: Final = 60_000
"""Longest time for which an e-mail waits for other announcements to the same address."""

_VERBS: Final[dict[Announcement, str]] = {
    "alert_raised": "raised",
    "alert_cleared": "cleared",
    "alert_escalated": "not acknowledged",
}

Address = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{0,252}[A-Za-z0-9]\Z")]


class Recipient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who gets e-mails about which alerts."""

    address: Address
    """E-mail address."""
    role: Role = Role.OPERATOR
    """Only alerts that a caller of the API with this role may read."""
    evs: tuple[str, ...] | None = None
    """Vehicles of a `driver` or `fleet`."""
    severities: Annotated[tuple[Severity, ...], Meta(min_length=1)] = ("error", "warning")
    """Severities."""
    level: Annotated[int, Meta(ge=0, le=10)] = 0
    """0: from the beginning; 1: once an alert was escalated, 2: twice, ..."""

    @property
    def principal(self) -> Principal:
        """The caller of the API that it corresponds to."""
        return Principal(self.address, self.role, evs_of(self.role, self.evs))


class Mail(msgspec.Struct, frozen=True):
    """An announcement on its way to an address."""

    mail_id: int
    address: str
    announcement: Announcement
    alert: Alert
    attempts: int


def addressees(recipients: Iterable[Recipient], alert: Alert) -> list[str]:
    """Return the addresses that an announcement of an alert goes to, each once."""
    found = {
        each.address: None
        for each in recipients
        if alert.severity in each.severities
        and each.level <= alert.escalations
        and may_read(readable(each.principal), alert.subject_kind, alert.subject)
    }
    return list(found)


def subject_line(mails: Collection[Mail]) -> str:
    """Return the subject of an e-mail about some announcements."""
    first = next(iter(mails))
    about = _line(first)[:120]
    return f"[V2G] {about}" if len(mails) == 1 else f"[V2G] {about}, and {len(mails) - 1} more"


def body(mails: Iterable[Mail]) -> str:
    """Return the text of an e-mail: a paragraph for each announcement, without control characters."""
    return "\n\n".join(map(_paragraph, mails)) + "\n\nDetails: v2g csms alerts show ALERT\n"


def _paragraph(mail: Mail) -> str:
    alert = mail.alert
    lines = [_line(mail), f"  alert {alert.alert_id}, since {_time(alert.raised_ms)}"]
    if alert.cleared_ms is not None:
        lines[1] += f", ended {_time(alert.cleared_ms)}"
    if alert.count > 1:
        lines[1] += f", began {alert.count} times"
    if alert.value is not None:
        lines.append(f"  value {alert.value:g}" + ("" if alert.limit is None else f", limit {alert.limit:g}"))
    return "\n".join(lines)


def _line(mail: Mail) -> str:
    alert = mail.alert
    about = f"{alert.severity}: {alert.kind} {_VERBS[mail.announcement]}, {alert.subject_kind} {alert.subject}"
    return printable(about)


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
