"""Sends e-mails about alerts (RFC 5321, STARTTLS of RFC 3207): they wait in the database until a server has taken them.

A node that dies between the server's answer and its own commit sends again, with the same Message-ID.
"""

import asyncio
import contextlib
import smtplib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

from csms.config import AlertEmail
from csms.db.queries import alert_mails as rows
from csms.db.store import Store
from csms.domain.diagnostics.alert_mails import Mail, body, subject_line
from v2g.errors import ConfigError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe, Scalar
from v2g.pki.keys import read_secret
from v2g.text import printable

POLL_S: Final = 2.0


class AlertMails:
    """Sends what waits, while `run` does."""

    def __init__(self, store: Store, clock: Clock, observe: EventLog, config: AlertEmail) -> None:
        self._store, self._clock, self._observe, self._config = store, clock, observe, config

    async def run(self) -> None:
        """Send until cancelled. Raises StoreError."""
        while True:
            while mails := await self._store.run(rows.claim, self._clock.utc_ms()):
                error = await asyncio.to_thread(self._send, mails)
                given_up = await self._store.run(rows.settle, mails, error, self._clock.utc_ms())
                if error:
                    data: dict[str, Scalar] = {"alerts": len(mails), "given_up": given_up, "reason": error}
                    self._observe(Observe("alerts", "email_failed", data))
            await asyncio.sleep(POLL_S)

    def _send(self, mails: Sequence[Mail]) -> str:
        """Send an e-mail; return why not, "" for nothing."""
        try:
            send(self._config, message_of(self._config, mails, self._clock.utc_ms()))
        except (smtplib.SMTPException, OSError, V2GError, ValueError) as error:
            return printable(f"{type(error).__name__}: {error}")[:300]
        return ""


def message_of(config: AlertEmail, mails: Sequence[Mail], now_ms: int) -> EmailMessage:
    """Return the e-mail about announcements to one address; repeated, it has the same Message-ID."""
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = config.sender, mails[0].address
    message["Subject"] = subject_line(mails)
    message["Date"] = datetime.fromtimestamp(now_ms / 1000, UTC)
    first = mails[0]
    domain = config.sender.rpartition("@")[2]
    message["Message-ID"] = f"<alert-{first.alert.alert_id}-{first.mail_id}-{first.alert.raised_ms}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies
    message.set_content(body(mails))
    return message


def send(config: AlertEmail, message: EmailMessage) -> None:
    """Give an e-mail to the server. Raises SMTPException, OSError, ConfigError."""
    tls = None if config.tls == "none" else _context(config)
    if config.tls == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(config.host, config.port, timeout=config.timeout_s, context=tls)
    else:
        server = smtplib.SMTP(config.host, config.port, timeout=config.timeout_s)
    with contextlib.closing(server):
        if config.tls == "starttls":
            server.starttls(context=tls)  # raises SMTPNotSupportedError where the server offers none
        if config.user and config.password_file is not None:
            server.login(config.user, read_secret(config.password_file).decode().strip())
        server.send_message(message)
        with contextlib.suppress(smtplib.SMTPException, OSError):  # it has taken the e-mail
            server.quit()


def _context(config: AlertEmail) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if config.root is None else str(config.root))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{config.root}: {error}") from None
