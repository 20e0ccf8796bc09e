"""The keys of `[alerts]`, and what is wrong with them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from csms.accounts.rules import OF_VEHICLES
from csms.alerts.rules import ESCALATE_MS, MOST_WAIT_MS, Address, Recipient, RuleChange, RuleName, contradiction
from v2g.config import Flaw


class AlertEmail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The mail server by which alerts go to people, and to whom."""

    host: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.:_-]{1,253}\Z")]
    """Mail server (SMTP)."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 587
    """Its port."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` demands STARTTLS, `tls` TLS from the first byte (port 465), `none` is for a server on this machine."""
    root: Path | None = None
    """PEM file of the root of its certificate; without it those of the system."""
    user: Annotated[str, msgspec.Meta(max_length=320)] = ""
    """Account; empty does not log in."""
    password_file: Path | None = None
    """File (mode 0600) with its password."""
    sender: Address
    """Address that e-mails come from."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=15)] = 10.0
    """How long the server may take for each answer."""
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=MOST_WAIT_MS / 1000)] = 10.0
    """How long an alert waits for others to the same address, which then share an e-mail."""
    recipients: Annotated[tuple[Recipient, ...], msgspec.Meta(min_length=1, max_length=200)]
    """Who gets which alerts."""


class AlertsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is an alert, and who gets it."""

    rules: dict[RuleName, RuleChange] = {}
    """Changes of rules, by name (`v2g csms alerts rules`)."""
    escalate_s: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1, le=604_800)], ...], msgspec.Meta(max_length=10)] = (
        tuple(each // 1000 for each in ESCALATE_MS)
    )
    """How long after its announcement an alert of severity `error` that is not acknowledged is announced again."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=0.1, le=300)] = 5.0
    """Interval in which it is looked whether rules hold."""
    email: AlertEmail | None = None
    """E-mails; none by default."""


def look_at_alerts(alerts: AlertsConfig) -> Iterator[Flaw]:
    for name, change in sorted(alerts.rules.items()):
        if wrong := contradiction(name, change):
            yield ("alerts", "rules", name), wrong, "an alert has to end before it begins again"
    if list(alerts.escalate_s) != sorted(set(alerts.escalate_s)):
        yield ("alerts", "escalate_s"), "is not ascending", "such as [900, 3600]"
    email = alerts.email
    if email is None:
        return
    if email.tls == "none" and email.host not in ("127.0.0.1", "::1", "localhost"):
        yield ("alerts", "email", "tls"), "would send alerts without encryption", 'use "starttls" or "tls"'
    if bool(email.user) != (email.password_file is not None):
        yield ("alerts", "email", "password_file"), "and user belong together", "set both, or none"
    for number, each in enumerate(email.recipients):
        if each.role in OF_VEHICLES and each.evs is None:
            place = ("alerts", "email", "recipients", str(number), "evs")
            yield place, f"is missing: {each.address!r} is a {each.role.value}", 'evs = ["EV-1"] names its vehicles'
