"""`v2g diag tls`: a handshake with a charger, and its outcome."""

import time
from pathlib import Path

import msgspec

from evcc.app import tls_endpoint
from evcc.config import load_config
from v2g.errors import TlsError, TransportError
from v2g.io.runtime.program import read_config
from v2g.io.tls.client import connect


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """How a handshake ended: `reason` is that of TlsError, or `unreachable`; `error` is empty after a success."""

    milliseconds: int
    peer: str = ""
    revocation: str = ""
    reason: str = ""
    error: str = ""
    hint: str = ""


async def handshake(host: str, port: int, config: Path) -> Handshake:
    """Connect once and close. Raises ConfigError, and V2GError for unusable files."""
    vehicle = load_config(read_config(config), name=str(config))
    endpoint = tls_endpoint(vehicle, lambda _event: None)
    begin = time.monotonic()
    try:
        stream = await connect(host, port, endpoint, timeout=vehicle.tls.timeout_s)
    except TransportError as error:
        reason = error.reason if isinstance(error, TlsError) else "unreachable"
        spent = round((time.monotonic() - begin) * 1000)
        return Handshake(milliseconds=spent, reason=reason, error=str(error), hint=error.hint)
    spent = round((time.monotonic() - begin) * 1000)
    known = "known" if stream.ocsp_response else "unknown"
    result = Handshake(milliseconds=spent, peer=stream.peer_name, revocation=known)
    await stream.close()
    return result
