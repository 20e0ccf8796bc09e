"""E-mails about alerts, through a mail server that we did not write: TLS, login, refusals, hostile names."""

import asyncio
import smtplib
import ssl
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from csms.alerts.config import AlertEmail
from csms.alerts.rules import Alert, Mail, Recipient
from csms.alerts.sentences import OTHER, SENTENCES
from csms.alerts.work import message_of, send
from csms.catalogues import catalogues
from csms.config import check_config
from pki_tools.tree import PkiTree
from tests.csms.mail_server import PASSWORD, MailServer
from tests.together import together
from v2g.errors import ConfigError, KeyAccessError
from v2g.events import Severity

T0 = 1_900_000_000_000


def alert(subject: str = "CS-1", severity: Severity = "error") -> Alert:
    return Alert(
        alert_id=17, subject_kind="station", subject=subject, kind="station_offline", severity=severity,
        raised_ms=T0, changed_ms=T0, count=2, value=901.0, limit=900.0,
    )  # fmt: skip


def mail(about: Alert | None = None, number: int = 1) -> Mail:
    return Mail(number, "ops@example.com", "alert_raised", about or alert(), 0)


def email(port: int, folder: Path, pki: PkiTree | None = None, **changes: Any) -> AlertEmail:
    secret = folder / "mail.password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD + "\n")
    found = AlertEmail(
        host="127.0.0.1", port=port, sender="v2g@example.com", recipients=(Recipient(address="ops@example.com"),),
        timeout_s=5.0,
    )  # fmt: skip
    if pki is None:
        return msgspec.structs.replace(found, tls="none", **changes)
    of_pki = {"root": pki.path("csms/root.pem"), "user": "v2g", "password_file": secret}
    return msgspec.structs.replace(found, **(of_pki | changes))


async def sent(config: AlertEmail, *mails: Mail) -> None:
    await asyncio.to_thread(send, config, message_of(config, mails or (mail(),), T0))


@pytest.mark.requirement("R125")
@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_an_email_goes_over_tls_after_a_login(tls: str, pki: PkiTree, tmp_path: Path) -> None:
    async with MailServer().running(pki, tls=tls) as server:
        await sent(email(server.port, tmp_path, pki, tls=tls), mail(), mail(alert("CS-2"), 2))
        found = server.taken.get_nowait()
    assert server.addresses == [("v2g@example.com", ["ops@example.com"])]
    assert server.logins == [b"v2g"]
    assert found["Subject"] == "[V2G] Critical: CS-1 has been offline for 15 min, and 1 more"
    assert found["Auto-Submitted"] == "auto-generated"
    text = found.get_content()
    assert "alert 17, since 2030-03-17 17:46:40 UTC, began 2 times" in text
    assert "Sessions go on, and are booked when it reconnects." in text
    assert "Critical: CS-2 has been offline for 15 min" in text
    assert "Details: v2g csms alerts show ALERT" in text


async def test_a_server_is_trusted_by_its_certificate_and_name_alone(pki: PkiTree, tmp_path: Path) -> None:
    async with MailServer().running(pki) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await sent(email(server.port, tmp_path, pki, root=pki.path("v2g/root.pem")))
    async with MailServer().running() as server:  # a server, or what is between, that offers no TLS
        with pytest.raises(smtplib.SMTPNotSupportedError):
            await sent(email(server.port, tmp_path, pki))
    assert server.taken.empty()


async def test_a_refusal_is_an_error_and_no_email(pki: PkiTree, tmp_path: Path) -> None:
    async with MailServer().running(pki) as server:
        config = email(server.port, tmp_path, pki)
        assert config.password_file is not None
        server.refusal = "451 busy"
        with pytest.raises(smtplib.SMTPDataError, match="451"):
            await sent(config)
        config.password_file.write_text("wrong")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            await sent(config)
        config.password_file.chmod(0o644)
        with pytest.raises(KeyAccessError):
            await sent(config)
    assert server.taken.empty()


async def test_names_from_outside_make_no_headers_and_no_control_characters(tmp_path: Path) -> None:
    hostile = "CS\r\nBcc: thief@example.com\r\n\r\n<b>\x1b[31m\u202egpj.exe"
    async with MailServer().running() as server:
        await sent(email(server.port, tmp_path), mail(alert(hostile)))
        found = server.taken.get_nowait()
    assert found["Bcc"] is None
    assert server.addresses == [("v2g@example.com", ["ops@example.com"])]
    text = found.get_content()
    assert "\\u001b" in text
    assert all(each.isprintable() for each in text.splitlines())


def test_a_repeated_email_has_the_same_message_id() -> None:
    config = email(1, Path("/tmp"))
    first, again = (message_of(config, [mail()], now_ms) for now_ms in (T0, T0 + 10**6))
    assert first["Message-ID"] == again["Message-ID"]
    assert first["Message-ID"] != message_of(config, [mail(number=2)], T0)["Message-ID"]


def test_an_email_says_what_the_console_says_in_its_zone_and_leads_there() -> None:
    config, zone = email(1, Path("/tmp")), ZoneInfo("Europe/Berlin")
    changes: dict[str, Any] = {"subject_kind": "site", "kind": "grid_limit_exceeded", "value": 11_240.0, "count": 1}
    fuse = msgspec.structs.replace(alert("depot"), **changes)
    ended = msgspec.structs.replace(fuse, cleared_ms=T0 + 60_000)
    named = msgspec.structs.replace(fuse, kind="odd_thing", severity="info")
    for about, announced, subject in (
        (fuse, "alert_raised", "Critical: depot is 11.2 kW above its grid limit"),
        (fuse, "alert_escalated", "Not acknowledged: depot is 11.2 kW above its grid limit"),
        (ended, "alert_cleared", "Ended: depot is 11.2 kW above its grid limit"),
        (named, "alert_raised", "Information: depot: odd thing"),
    ):
        told = Mail(1, "ops@example.com", announced, about, 0)  # type: ignore[arg-type]  # one of these
        message = message_of(config, [told], T0 + 60_000, zone, "https://console.example")
        assert message["Subject"] == f"[V2G] {subject}"
        text = message.get_content()
        assert "since 2030-03-17 18:46:40 Europe/Berlin" in text
        assert "Details: https://console.example/console/alerts" in text
        assert ("ended 2030-03-17 18:47:40" in text) == (announced == "alert_cleared")


def test_an_email_is_in_its_readers_language_and_shows_whatever_a_station_is_called() -> None:
    config = email(1, Path("/tmp"))
    reader = msgspec.structs.replace(config.recipients[0], language="de")
    config, hostile = msgspec.structs.replace(config, recipients=(reader,)), "CS {value}\u202e"
    about = msgspec.structs.replace(alert(hostile), kind="station_offline", value=1860.0, cleared_ms=None, count=3)
    mails = [Mail(number, "ops@example.com", "alert_raised", about, 0) for number in (1, 2)]
    message = message_of(config, mails, about.changed_ms)
    assert message["Subject"] == "[V2G] Kritisch: CS {value}\\u202e ist seit 31 min offline, und 1 weitere"
    text = message.get_content()
    for part in (
        "Ladevorg\u00e4nge laufen weiter",
        "Meldung 17, seit 2030-03-17",
        "3-mal begonnen",
        "Einzelheiten: v2g csms",
    ):
        assert part in text
    german = catalogues()["de"]
    for sentence in (*SENTENCES.values(), OTHER):
        assert {sentence.one, sentence.then} - {""} <= german.keys() | {"{subject}: {kind}", "{subject}: {detail}"}


@together("address", ["ops", "a@b\nBcc: c@d", "a b@c", "a@b c", "@b", "a@", "<a@b>", "a@b,c@d"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"address": address}, Recipient)


def test_contradictions_of_the_configuration_are_named(tmp_path: Path) -> None:
    text = """
data_dir = "d"
[ocpp]
[api]
certificate = "c"
key = "k"
[trust]
roots = []
[alerts]
escalate_s = [60, 30]
rules.over_temperature = { clear = 99.0 }
[alerts.email]
host = "mail.example.com"
tls = "none"
user = "v2g"
sender = "v2g@example.com"
recipients = [{ address = "d@example.com", role = "driver" }]
"""
    found = " ".join(str(each) for each in check_config(text, name="csms.toml"))
    for place in ("rules.over_temperature", "escalate_s", "email.tls", "email.password_file", "recipients"):
        assert place in found, found
    assert isinstance(check_config(text, name="csms.toml")[0], ConfigError)
