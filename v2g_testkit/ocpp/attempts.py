"""How the tester's station connects with a back end: where, as which station, and with which TLS."""

import asyncio
import ssl
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from v2g.errors import TlsError, TransportError, UpgradeRefusedError, V2GError
from v2g.io.tls.files import client_context
from v2g.io.websocket.client import OcppSocket, agreed, connect, tls_error
from v2g.ocpp.routes import Version
from v2g_testkit.ocpp.certificates import outdated
from v2g_testkit.ocpp.declaration import CsmsDeclaration, StationIdentity

_HANDSHAKE_S: Final = 10.0


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt to connect."""

    url: str
    station: StationIdentity
    ca: Path | None = None
    username: str | None = None
    """Of basic authentication; None: the station's identity, as it has to be."""
    outdated: bool = False
    """Nothing newer than TLS 1.1."""
    suite: str = ""
    """The only cipher suite, of TLS 1.2, by OpenSSL's name."""
    offered: tuple[str, ...] = ()
    """Names of WebSocket subprotocols for `Network.agreed`."""

    @property
    def security_profile(self) -> int:
        """1 to 3 (A00); 0: the station shows nothing by which it is recognised."""
        if not self.url.startswith("wss:"):
            return 0 if self.station.password is None else 1
        return 2 if self.station.chain is None else 3


def declared_attempt(declared: CsmsDeclaration) -> Attempt:
    """Return how the declared station connects."""
    return Attempt(url=declared.url, station=declared.station, ca=declared.ca)


class Network(Protocol):
    """Where attempts are made."""

    async def connect(self, attempt: Attempt, version: Version) -> OcppSocket:
        """Connect. Raises KeyAccessError, TlsError, UpgradeRefusedError, TransportError."""

    async def agreed(self, attempt: Attempt) -> str | None:
        """Return which of the offered subprotocols the back end agrees to, None if to none. Raises as `connect`."""

    async def certificate(self, attempt: Attempt) -> bytes:
        """Return the certificate (DER) that the back end shows in a TLS handshake, which it ends then.

        Raises KeyAccessError, TlsError, TransportError.
        """


class Sockets:
    """The network of the machine."""

    async def connect(self, attempt: Attempt, version: Version) -> OcppSocket:
        station = attempt.station
        return await connect(
            attempt.url,
            station.identity,
            context=context_of(attempt),
            versions=(version,),
            password=station.password,
            username=attempt.username,
        )

    async def agreed(self, attempt: Attempt) -> str | None:
        station, context = attempt.station, context_of(attempt)
        return await agreed(attempt.url, station.identity, attempt.offered, context=context, password=station.password)

    async def certificate(self, attempt: Attempt) -> bytes:
        url = urlsplit(attempt.url)
        try:
            async with asyncio.timeout(_HANDSHAKE_S):
                _, writer = await asyncio.open_connection(url.hostname, url.port or 443, ssl=context_of(attempt))
        except ssl.SSLError as error:
            raise tls_error(url.netloc, error) from None
        except (OSError, TimeoutError) as error:
            raise TransportError(f"{url.netloc}: {str(error) or type(error).__name__}") from None
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return shown


def context_of(attempt: Attempt) -> ssl.SSLContext | None:
    """Return the TLS of an attempt, None without. Raises KeyAccessError, and TlsError for an unknown suite."""
    if not attempt.url.startswith("wss:"):
        return None
    station = attempt.station
    context = client_context(attempt.ca, station.chain, station.key, older=True)
    if attempt.outdated:
        return outdated(context)
    if attempt.suite:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.set_ciphers(attempt.suite)
        except ssl.SSLError as error:
            raise TlsError(f"{attempt.suite}: {error}", reason="no_ciphers_available") from None
    return context


_OF_THE_TESTER: Final = frozenset({"no_protocols_available", "no_ciphers_available"})


def is_ours(error: V2GError) -> bool:
    """Return whether an attempt failed because the tester's TLS library cannot make it."""
    return isinstance(error, TlsError) and error.reason in _OF_THE_TESTER


def is_distrust(error: V2GError) -> bool:
    """Return whether the declared roots do not lead to the back end's certificate."""
    return isinstance(error, TlsError) and error.reason == "peer_certificate"


def is_defect(error: V2GError) -> bool:
    """Return whether a back end failed on an attempt, which it then has neither accepted nor refused."""
    return isinstance(error, UpgradeRefusedError) and error.status >= 500


def is_refusal(error: V2GError) -> bool:
    """Return whether it was the back end that did not let the station in, and neither the network nor the tester."""
    if isinstance(error, UpgradeRefusedError):
        return error.status in (401, 403)
    return isinstance(error, TlsError) and not is_ours(error) and not is_distrust(error)
