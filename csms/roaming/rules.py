"""Roaming partners: who they are, what they may see and where they may be called."""

import hashlib
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from csms.webhooks.rules import Reach, check_url
from v2g.errors import ConfigError, OcpiError
from v2g.ocpi import objects
from v2g.ocpi.wire import VERSIONS, Version

Side = Literal["cpo", "emsp"]

KINDS: Final[dict[str, type[objects.OcpiObject]]] = {
    "locations": objects.OcpiLocation, "tariffs": objects.OcpiTariff, "sessions": objects.OcpiSession,
    "tokens": objects.OcpiToken,
}  # fmt: skip
"""Objects that are sent by PUT, by module."""

MODULES: Final[dict[Side, dict[str, objects.ModuleRole]]] = {
    "cpo": {
        "locations": "SENDER", "tariffs": "SENDER", "sessions": "SENDER", "cdrs": "SENDER", "tokens": "RECEIVER",
        "commands": "RECEIVER", "chargingprofiles": "RECEIVER", "hubclientinfo": "RECEIVER",
    },
    "emsp": {
        "locations": "RECEIVER", "tariffs": "RECEIVER", "sessions": "RECEIVER", "cdrs": "RECEIVER", "tokens": "SENDER",
        "commands": "SENDER", "hubclientinfo": "RECEIVER",
    },
}  # fmt: skip
"""The modules that this back end has in each role, and who owns their objects: SENDER is this side."""

HostName = Annotated[str, Meta(min_length=1, max_length=253)]


class Partner(msgspec.Struct, frozen=True, kw_only=True):
    """A partner: `hosts` are the only ones that are called for it. What is agreed is empty before the handshake. One
    that is `unregistered` has no token, nor have we one of it: it has to be removed and added again.

    `bare_token`: it expects tokens without base64. `negative_energy`: its CDRs may have energy below zero, else energy
    fed back is a credit CDR of its own. `discharge`: its drivers' contracts consent to feeding back. `clients`: further
    parties that it speaks for, as a hub; `hub_party`: its own as such, as `NLHUB`, if it has said it by that name.
    `repeats_until_ms`: until then (UTC ms) token A may repeat its handshake, whose answer may be lost; 0: it has used
    the token of that answer. `rotated`: it has answered the last rotation, which was ours, so it has got that token.
    """

    partner_id: str
    state: Literal["invited", "registered", "unregistered"] = "invited"
    versions_url: str = ""
    hosts: tuple[str, ...] = ()
    bare_token: bool = False
    negative_energy: bool = True
    discharge: bool = False
    clients: tuple[str, ...] = ()
    hub_party: str = ""
    created_ms: int = 0
    repeats_until_ms: int = 0
    rotated: bool = False
    version: str = ""
    roles: tuple[objects.PartyRole, ...] = ()
    endpoints: tuple[objects.ModuleEndpoint, ...] = ()

    @property
    def parties(self) -> frozenset[str]:
        """Its parties, as `de*abc`."""
        hub = [party_of(*self.hub)] if self.hub is not None else []
        return frozenset((*(party_of(each.country_code, each.party_id) for each in self.roles), *self.clients, *hub))

    @property
    def hub(self) -> tuple[str, str] | None:
        """Country and party of a hub, which routes to the parties behind it; None: it is no hub."""
        if self.hub_party:
            return self.hub_party[:2], self.hub_party[2:]
        found = next((each for each in self.roles if each.role.upper() == "HUB"), None)
        return None if found is None else (found.country_code, found.party_id)

    def behind(self, sender: str) -> str:
        """Return the party behind a hub whose request it is, by who has sent it: its own objects only are its
        concern; "": the partner itself."""
        return "" if self.hub is None or sender == party_of(*self.hub) else sender

    def endpoint(self, module: str, role: objects.ModuleRole) -> str | None:
        """Return the URL of its module in a role."""
        found = (each for each in self.endpoints if each.identifier.lower() == module)
        return next((each.url for each in found if each.role.upper() in (role, "")), None)


def party_of(country_code: str, party_id: str) -> str:
    """Return a party's name; case does not count."""
    return f"{country_code}*{party_id}".lower()


def key_of(country_code: str, party_id: str, *ids: str) -> str:
    """Return the key of a partner's object; ids are compared without case."""
    return "*".join((country_code, party_id, *ids)).lower()


def digest_of(token: str) -> str:
    """Return what is stored of a token that a partner uses."""
    return hashlib.sha256(f"ocpi {token}".encode()).hexdigest()


def seal_purpose(partner_id: str) -> str:
    """Return the purpose for which a partner's token is sealed."""
    return f"roaming partner {partner_id}"


def check_partner_url(url: str, hosts: tuple[str, ...], reach: Reach) -> str:
    """Return a URL that may be called: of one of these hosts, if there are any. Raises OcpiError (3001)."""
    try:
        check_url(url, reach)
        host = host_of(url)
    except (ConfigError, ValueError) as error:
        raise OcpiError(str(error), code=3001, hint=getattr(error, "hint", "")) from None
    if hosts and host not in hosts:
        raise OcpiError(f"{host} is not a host of this partner ({', '.join(hosts)})", code=3001)
    return url


def host_of(url: str) -> str:
    """Return the host of a URL that was checked."""
    return (urlsplit(url).hostname or "").lower()


def best_version(offered: list[objects.OfferedVersion], only: str = "") -> tuple[Version, str]:
    """Return the best common version and its URL; `only`: no other. Raises OcpiError (3002)."""
    urls = {each.version: each.url for each in offered}
    for version in VERSIONS:
        if version in urls and only in ("", version):
            return version, urls[version]
    names = ", ".join(sorted(urls)) or "none"
    raise OcpiError(f"no common version: {only or ', '.join(VERSIONS)} here, {names} there", code=3002)


def with_roles(partner: Partner, said: objects.OcpiCredentials, others: dict[str, str]) -> Partner:
    """Return a partner with the roles that it has said. A hub also names this back end and partners of ours (`others`):
    it does not speak for them. Raises OcpiError (2001) for another partner's party, or a hub without any of its own."""
    taken = {each: whose for each in said.roles if (whose := others.get(party_of(each.country_code, each.party_id)))}
    roles = tuple(each for each in said.roles if each not in taken)
    found = msgspec.structs.replace(partner, roles=roles, hub_party=said.hub_party_id or "")
    if taken and found.hub is None:
        role, whose = next(iter(taken.items()))
        raise OcpiError(f"party {role.country_code}*{role.party_id} belongs to {whose}", code=2001)
    if found.hub is not None and party_of(*found.hub) in others:
        raise OcpiError(f"party {'*'.join(found.hub)} belongs to {others[party_of(*found.hub)]}", code=2001)
    return found
