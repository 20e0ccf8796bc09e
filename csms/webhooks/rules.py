"""Webhooks: retries, abandonment, and signatures of calls (Standard Webhooks 1.0)."""

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal, get_args
from urllib.parse import urlsplit

import msgspec

from v2g.errors import ConfigError

Announcement = Literal["alert_raised", "alert_cleared", "alert_escalated"]

ANNOUNCEMENTS: Final[frozenset[str]] = frozenset(get_args(Announcement))
"""Events of alerts: stored with their deliveries."""

BACK_OFF_S: Final = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)
"""Pauses before the second and later attempts; after the last one a delivery is abandoned."""

MAX_FAILURES: Final = 50
"""Deliveries abandoned in a row after which a webhook is disabled: a receiver that is down for a day is not."""

ALLOW_HINT: Final = "webhooks.allow, or roaming.allow, in the configuration names private hosts that may be called"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
_NOT_GLOBAL: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48")))  # older Pythons say they are
_SECRET: Final = "whsec_"  # noqa: S105  prefix of secrets


def next_attempt(attempts: int, now_ms: int) -> int | None:
    """Return when (UTC ms) to try again after so many failed `attempts`; None: never."""
    return now_ms + BACK_OFF_S[attempts - 1] * 1000 if attempts <= len(BACK_OFF_S) else None


def make_secret(entropy: bytes) -> str:
    """Return a secret from random bytes (24 to 64)."""
    return _SECRET + base64.b64encode(entropy).decode()


def signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the header `webhook-signature` of a call: HMAC-SHA256 over id, time and body."""
    key = base64.b64decode(secret.removeprefix(_SECRET))
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Reach:
    """Hosts that may be called: those of the internet, and the `allowed` ones (names, addresses, networks).

    Private, link-local, loopback, carrier-shared and reserved addresses are not of the internet; this includes
    clouds' metadata services (169.254.169.254).
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._names: Final = frozenset(each.lower() for each in allowed if _network(each) is None)
        self._networks: Final = tuple(net for each in allowed if (net := _network(each)) is not None)

    def names(self, host: str) -> bool:
        """Return whether a host is allowed by its name."""
        return host.lower() in self._names

    def takes(self, address: str) -> bool:
        """Return whether an IP address may be called."""
        try:
            at = _embedded(ipaddress.ip_address(address))
        except ValueError:
            return False
        if any(at in net for net in self._networks):
            return True
        return at.is_global and not (at.is_multicast or at.is_reserved or any(at in net for net in _NOT_GLOBAL))


def check_url(url: str, reach: Reach) -> None:
    """Reject URLs without TLS, except of this machine, and hosts that may not be called. Raises ConfigError.

    Names are resolved and checked at each call.
    """
    try:
        parts = urlsplit(url)
        host, _port = (parts.hostname or "").removesuffix("."), parts.port  # a dot at the end is the same host
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}") from None
    if not host or parts.username or parts.password or not url.isascii():
        raise ConfigError(f"{url!r} is not a valid URL", hint="https://host/path, ASCII, without a password")
    here = host in ("localhost", "127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and here):
        raise ConfigError(f"{parts.scheme} is not secure: https is needed", hint="http is for this machine only")
    # whether a host is an address, in any form that resolvers accept: 127.1 and 0x7f000001 are two
    if not reach.names(host) and (host == "localhost" or (":" in host or host.rpartition(".")[2][:1].isdigit())):
        address = "127.0.0.1" if host == "localhost" else host
        if not reach.takes(address):
            raise ConfigError(f"{host} is not a host of the internet", hint=ALLOW_HINT)


def is_reach(text: str) -> bool:
    """Return whether `text` can name what may be called: a host, an address or a network, but not all of them."""
    net = _network(text)
    return _HOST.fullmatch(text) is not None if net is None else net.prefixlen > 0


_HOST: Final = re.compile(r"(?![0-9.]+\Z)[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _embedded(address: Address) -> Address:
    """Return the IPv4 address embedded in an IPv6 address (mapped, 6to4, NAT64)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


class Webhooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hosts that webhooks may call besides those of the internet."""

    allow: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=253)], ...] = ()
    """Hosts, addresses and networks, such as `["billing.lan", "10.20.0.0/16"]`; by default no private or local address,
    and no cloud metadata service."""
