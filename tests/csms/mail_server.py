"""A mail server that we did not write (aiosmtpd), and what it takes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from pki_tools.tree import PkiTree

PASSWORD = "correct horse"


class MailServer:
    """Takes e-mails, while `running`. `refusal` is its answer instead."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[EmailMessage] = asyncio.Queue()
        self.addresses: list[tuple[str, list[str]]] = []
        self.logins: list[bytes] = []
        self.refusal = ""
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(
        self, pki: PkiTree | None = None, *, tls: str = "starttls", port: int = 0
    ) -> AsyncIterator["MailServer"]:
        """Listen; with certificates it demands TLS and a login."""
        context = None
        if pki is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key"))
        starttls = tls == "starttls" and context is not None

        def protocol() -> SMTP:
            return SMTP(
                self,
                hostname="mail.example",
                tls_context=context if starttls else None,
                require_starttls=starttls,
                auth_required=starttls,
                auth_require_tls=starttls,
                authenticator=self._login,
                loop=asyncio.get_running_loop(),
            )

        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol, "127.0.0.1", port, ssl=None if starttls else context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        """Take an e-mail."""
        if self.refusal:
            return self.refusal
        self.addresses.append((envelope.mail_from, envelope.rcpt_tos))
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.taken.put_nowait(message)
        return "250 taken"

    def _login(self, _server: object, _session: object, _envelope: object, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login)
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)
