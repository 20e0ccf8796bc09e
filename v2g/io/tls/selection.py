"""Which version of TLS a ClientHello gets from a charger: bytes in, profile out, or a named failure.

One listener serves vehicles of ISO 15118-20 (TLS 1.3) and of ISO 15118-2 (TLS 1.2). A ClientHello that offers 1.3 with
a group of -20 never gets 1.2; one that offers neither what -20 nor what -2 needs is refused by name.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from v2g.errors import FrameError, TlsError
from v2g.io.tls.endpoint import Endpoint, TlsChannel, TlsProfile, Version, open_channel
from v2g.io.tls.hello import VERSIONS, ClientHello, first_message, read_client_hello

GROUPS: Final = {"prime256v1": 23, "secp384r1": 24, "secp521r1": 25, "X25519": 29, "X448": 30}
"""Numbers of groups (RFC 8446, 4.2.7)."""

CIPHERS: Final = {"ECDHE-ECDSA-AES128-SHA256": 0xC023}
"""Numbers of the cipher suites of TLS 1.2 in the profiles (RFC 5289, 3.1)."""

STATIC_ECDH: Final = 0xC025
"""TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA256, the second suite of ISO 15118-2, which OpenSSL has no longer."""


def select(hello: ClientHello, profiles: Sequence[TlsProfile], *, falls_back: bool = False) -> TlsProfile:
    """Return the one of `profiles`, the newest first, that a client gets.

    With `falls_back` TLS 1.2 is also for a client that offers TLS 1.3 without a group of its profile. Raises TlsError
    when the client offers the version, the group or the cipher suite of none.
    """
    offered = _offered(hello)
    known = {profile.version: profile for profile in profiles}
    newer, older = known.get("TLSv1.3"), known.get("TLSv1.2")
    if newer is not None and "TLSv1.3" in offered:
        if _has_group(hello, newer):
            return newer
        if older is None or not falls_back or "TLSv1.2" not in offered:
            raise TlsError(
                f"the peer offers TLS 1.3 with none of the groups {', '.join(newer.groups)}, which {newer.name} needs",
                reason="no_common_group",
                hint="offer these groups, or TLS 1.2 alone for ISO 15118-2; tls.falls_back gives such peers TLS 1.2"
                if older is not None
                else 'offer these groups; security_profile = "interop" also accepts secp256r1',
            )
    elif older is not None and "TLSv1.2" in offered:
        older = replace(older, marks_downgrade=newer is not None)
    else:
        served = [*known]
        what = " and ".join(sorted(offered)) or "a version before TLS 1.2"
        hint = "offer " + " or ".join(served)
        if served == ["TLSv1.3"] and "TLSv1.2" in offered:
            hint = 'ISO 15118-20 needs TLS 1.3; for vehicles of ISO 15118-2 add "2" to charger.editions'
        raise TlsError(
            f"the peer offers {what}, we support {' and '.join(served)}", reason="protocol_version", hint=hint
        )
    # check that TLS 1.2 is possible. Raises TlsError
    if not any(CIPHERS[each] in hello.ciphers for each in older.ciphers):
        if STATIC_ECDH in hello.ciphers:
            raise TlsError(
                "the peer offers static ECDH only (TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA256), which OpenSSL has removed",
                reason="static_ecdh_only",
                hint="the peer must offer TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, too",
            )
        raise TlsError(
            f"the peer offers TLS 1.2 without {', '.join(older.ciphers)}",
            reason="no_common_cipher",
            hint="ISO 15118-2 needs TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        )
    if not _has_group(hello, older):
        raise TlsError(
            "the peer offers TLS 1.2 without the group secp256r1",
            reason="no_common_group",
            hint="ISO 15118-2 needs secp256r1",
        )
    return older


def _offered(hello: ClientHello) -> set[Version]:
    return {VERSIONS[number] for number in hello.versions if number in VERSIONS}


def _has_group(hello: ClientHello, profile: TlsProfile) -> bool:
    return not hello.groups or any(GROUPS[each] in hello.groups for each in profile.groups)


def open_for(endpoint: Endpoint, received: bytes) -> TlsChannel | None:
    """Return a server's channel by the bytes that have been received, None until they suffice.

    Raises as `open_channel`. A ClientHello that gets no profile is left to a channel that refuses it by name.
    """
    if endpoint.older is None:
        return open_channel(endpoint)
    try:
        message = first_message(received)
        if message is None:
            return None
        hello = read_client_hello(message)
        profile = select(hello, endpoint.profiles, falls_back=endpoint.falls_back)
    except FrameError:
        return open_channel(endpoint)
    except TlsError as error:
        if error.reason == "protocol_version" or "TLSv1.3" in _offered(hello):
            return open_channel(endpoint)
        profile = endpoint.older
    return open_channel(replace(endpoint, profile=profile, older=None))
