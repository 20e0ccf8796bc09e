"""Configuration of servers that have to know their client, such as CAs by EST: nothing here sends a request."""

from pathlib import Path
from typing import Annotated

import msgspec

HttpsUrl = Annotated[str, msgspec.Meta(pattern=r"^https://[^\s/@?#]+(/\S*)?\Z", max_length=1900)]
"""Without user and password, which events and errors would show."""


class OauthClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Client credentials (OAuth 2.0) at a token endpoint that takes JSON (OPCP)."""

    url: HttpsUrl
    """Token endpoint."""
    client_id: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    """Client ID."""
    client_secret_file: Path
    """File (mode 0600) with the client secret."""
    audience: Annotated[str, msgspec.Meta(max_length=1900)] = ""
    """Audience that the server asks for."""


class KnownClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A server, and how this client shows who it is."""

    url: HttpsUrl
    """URL of its operations."""
    root: Path | None = None
    """Root of the server's TLS certificate (PEM); without it those of the system."""
    certificate: Path | None = None
    """Own TLS certificate with its chain (PEM)."""
    key: Path | None = None
    """Its key: PEM file of mode 0600."""
    user: Annotated[str, msgspec.Meta(pattern=r"^[^:\x00-\x1f]*\Z", max_length=255)] = ""
    """User name (HTTP Basic)."""
    password_file: Path | None = None
    """File (mode 0600) with the password."""
    oauth: OauthClient | None = None
    """OAuth 2.0 in place of a password."""


EstPath = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+\Z", max_length=400)]


class EstServer(KnownClient, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An EST server and how this client shows who it is: TLS certificate, password, or OAuth 2.0 token.

    `url` has the label if there is any: `https://est.example/.well-known/est/cpo`.
    """

    enrol: EstPath = "simpleenroll"
    """Path of enrolment below it; `{iso}` is replaced by ISO15118-2 or ISO15118-20, `{curve}` by the key's kind, as in
    `simpleenroll/{iso}`."""
    reenrol: EstPath = "simplereenroll"
    """Path of renewal."""
    cacerts: EstPath = "cacerts"
    """Path of the CA's certificates."""
    csrattrs: EstPath = "csrattrs"
    """Path of what the CA wants in requests."""


CommonName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class SelfEnrolmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A CA that issues this program's own certificate by EST (RFC 7030)."""

    est: EstServer
    """Its server, and how this program shows who it is. If `certificate` is the old certificate, that renews itself."""
    roots: Annotated[tuple[Path, ...], msgspec.Meta(min_length=1, max_length=20)]
    """Roots (PEM) to one of which its certificates have to lead."""
    common_name: CommonName
    """Common name of the first certificate; later ones have the subject of the one before."""
    before_days: Annotated[float, msgspec.Meta(ge=0.01, le=365)] = 20.0
    """How long before its end a certificate is renewed, days; at the latest when two thirds of its time are over."""
