"""When a webhook is called again, when it is given up, and how a call is signed (Standard Webhooks 1.0)."""

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import urlsplit

from v2g.errors import ConfigError

BACK_OFF_S: Final = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)
"""Pauses before the second and later attempts; after the last one a delivery is given up."""

MAX_FAILURES: Final = 50
"""Attempts that fail in a row, of all deliveries, until a webhook is disabled."""

_SECRET: Final = "whsec_"  # noqa: S105  what secrets begin with


def next_attempt(attempts: int, now_ms: int) -> int | None:
    """Return when (UTC ms) to try again after so many failed `attempts`; None: never."""
    return now_ms + BACK_OFF_S[attempts - 1] * 1000 if attempts <= len(BACK_OFF_S) else None


def make_secret(entropy: bytes) -> str:
    """Return a secret made of random bytes (24 to 64)."""
    return _SECRET + base64.b64encode(entropy).decode()


def signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the header `webhook-signature` of a call: HMAC-SHA256 over id, time and body."""
    key = base64.b64decode(secret.removeprefix(_SECRET))
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def check_url(url: str) -> None:
    """Refuse what is called without TLS, but for this machine itself. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}") from None
    if not host or parts.username or parts.password:
        raise ConfigError(f"{url!r} is no URL of a webhook", hint="https://host/path, without a password")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1")):
        raise ConfigError("a webhook is called over https", hint="http is for this machine only")
