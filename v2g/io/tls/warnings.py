"""Warnings about configured settings that weaken TLS: the profile for peers, and the key log."""

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

from v2g.errors import ConfigError
from v2g.io.tls.endpoint import INTEROP, ISO15118_2, ISO15118_20, Endpoint, TlsProfile, backend_of
from v2g.observe import Observe

_log = logging.getLogger(__name__)


def log_profile(profile: TlsProfile, observe: Callable[[Observe], None]) -> None:
    """Warn when handshakes accept more than the profile's edition allows: other algorithms, or only certificates."""
    if not profile.interop:
        return
    standard = ISO15118_2 if profile.generation is ISO15118_2.generation else ISO15118_20
    accepted = (*profile.ciphers, *profile.groups, *profile.signature_algorithms)
    required = (*standard.ciphers, *standard.groups, *standard.signature_algorithms)
    also = ", ".join(each for each in accepted if each not in required) or "certificates of other profiles"
    _log.warning("security_profile is %s: TLS and signatures also accept %s; not for public use", INTEROP.name, also)
    observe(Observe("tls", "weakened", {"profile": INTEROP.name, "also_accepted": also}))


def log_backend(endpoint: Endpoint, observe: Callable[[Observe], None]) -> None:
    """Report when a key determines the TLS backend against the configuration."""
    used = backend_of(endpoint)
    if endpoint.backend in (used, "auto"):
        return
    _log.info("a key stays in its store: TLS uses the %s backend in place of %s", used, endpoint.backend)
    observe(Observe("tls", "backend", {"used": used, "configured": endpoint.backend, "because": "key_stays_in_store"}))


def open_key_log(path: Path, observe: Callable[[Observe], None]) -> Callable[[bytes], None]:
    """Return a function that appends lines of the NSS key log (SSLKEYLOGFILE) to `path`, after a warning.

    A new file gets mode 0600. Raises ConfigError when it cannot be written, or others may read it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"tls.key_log {path}: {error.strerror}") from None
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & 0o077:
        os.close(descriptor)
        raise ConfigError(f"tls.key_log {path} has mode {mode:04o}: others may read it", hint=f"chmod 600 {path}")
    _log.warning(
        "tls.key_log: the secrets of every connection are written to %s; anyone who can read it can decrypt them all",
        path,
    )
    observe(Observe("tls", "key_log", {"path": str(path)}))

    def write(line: bytes) -> None:
        try:
            os.write(descriptor, line + b"\n")
        except OSError as error:  # a full disk costs the log, not the session
            _log.error("a line of the key log is lost: %s", error)

    return write
