"""Who may use the API and the console, as `[api]` names them."""

from pathlib import Path
from typing import Annotated

import msgspec

from csms.accounts.rules import Role


class ApiToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bearer token of the HTTP API.

    Tokens are random, at least 128 bits (`openssl rand -base64 24`), so a plain hash is enough.
    """

    name: str
    """Its owner, as shown in the audit log."""
    role: Role
    """Its role."""
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """SHA-256 of the token, hex."""
    evs: tuple[str, ...] | None = None
    """Pseudonyms of the vehicles that it may handle or read; `["*"]`: all, as by default. The roles `driver`, `fleet`
    and `insurer` need it."""


class ApiClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A client certificate of the HTTP API."""

    common_name: str
    """Common name of the certificate."""
    role: Role = Role.GATEWAY
    """Its role."""
    evs: tuple[str, ...] = ()
    """Pseudonyms of the vehicles whose telemetry it may deliver; empty: only the one equal to the common name;
    `["*"]`: all."""
    balances: bool = False
    """It is of a load balancer, which names in the header `V2G-Vehicle` the vehicle whose certificate it has verified:
    only that vehicle's telemetry is taken."""

    def __post_init__(self) -> None:
        """Reject a load balancer that would be more than a gateway."""
        if self.balances and (self.role is not Role.GATEWAY or self.evs):
            raise ValueError("balances needs the role gateway, and no evs")


class FirstAdmin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first administrator of the console: added when it has no user, and has to change the password."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,63}\Z")]
    """Name at the login, in lower case."""
    password_hash: Annotated[str, msgspec.Meta(pattern=r"^\$argon2id\$[!-~]{20,190}\Z")]
    """Hash of the first password (argon2id), as `v2g csms init` writes it."""


class OpenIdRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The role of people for whom a claim of the provider's token has a value."""

    value: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    """The value, such as a group."""
    role: Role
    """Their role."""
    sites: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=100)] | None = None
    """The only sites that it is for; all by default."""


class OpenId(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An OpenID provider by which people log in to the console. Needs the extra `accounts`."""

    issuer: Annotated[str, msgspec.Meta(pattern=r"^https://[^\s?#]+\Z", max_length=1900)]
    """The provider, such as `https://login.example/realms/depot`."""
    client_id: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,256}\Z")]
    """Name of this client there."""
    client_secret_file: Path
    """File (mode 0600) with the client secret."""
    redirect_uri: Annotated[
        str, msgspec.Meta(pattern=r"^https://[^\s?#]+/console/login/provider/back\Z", max_length=1900)
    ]
    """Where the provider sends browsers back, as registered there: `https://HOST:PORT/console/login/provider/back`."""
    scope: Annotated[str, msgspec.Meta(pattern=r"^openid( [!-~]+)*\Z", max_length=1000)] = "openid profile email"
    """Scopes to request."""
    name_claim: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] = "email"
    """Claim with a person's name in the console."""
    role_claim: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] = "groups"
    """Claim with the values by which people have roles."""
    roles: Annotated[tuple[OpenIdRole, ...], msgspec.Meta(min_length=1, max_length=1000)]
    """Roles; the first that fits counts, and people without any are refused."""
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=60)] = "your organisation"
    """Its name on the login page."""
    root: Path | None = None
    """CA of the provider's certificate (PEM); without it those of the system."""
