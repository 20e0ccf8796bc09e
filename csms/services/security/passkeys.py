"""Passkeys of people (WebAuthn): an authenticator that has verified its user replaces password and second factor.

The challenge of a ceremony is in a sealed cookie, so any node can finish it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from csms.db.store_key import StoreKey
from v2g import typed_json
from v2g.errors import RefusedError, StoreError
from v2g.extras import extras_named

CEREMONY_MS: Final = 300_000
"""How long a person may take."""

_PURPOSE: Final = "passkey"
_ISSUER: Final = "v2g-engine"
_MOST: Final = 20_000


class Pending(msgspec.Struct, frozen=True):
    """A ceremony under way: `name` adds a passkey, "" logs in."""

    challenge: str
    name: str
    until_ms: int


class Passkey(NamedTuple):
    """A passkey: its id and public key (COSE), base64url, and its counter."""

    credential_id: str
    public_key: str
    sign_count: int


class Passkeys:
    """Begins and finishes ceremonies. `host`: of the page, with its port."""

    def __init__(self, store_key: StoreKey, utc_ms: Callable[[], int]) -> None:
        self._store_key, self._utc_ms = store_key, utc_ms

    def begin_adding(self, name: str, host: str, known: Sequence[str]) -> tuple[str, str]:
        """Return what the browser is asked, as JSON, and the cookie that it brings back. Raises ConfigError: extra."""
        web = _library()
        options = web.generate_registration_options(
            rp_id=_rp_id(host),
            rp_name=_ISSUER,
            user_name=name,
            user_id=name.encode(),
            exclude_credentials=[_descriptor(web, each) for each in known],
            authenticator_selection=web.helpers.structs.AuthenticatorSelectionCriteria(
                resident_key=web.helpers.structs.ResidentKeyRequirement.REQUIRED,
                user_verification=web.helpers.structs.UserVerificationRequirement.REQUIRED,
            ),
        )
        return web.options_to_json(options), self._sealed(options.challenge, name)

    def finish_adding(self, name: str, host: str, cookie: str, answer: str) -> Passkey:
        """Return the passkey that an authenticator has made. Raises RefusedError (`passkey`)."""
        web, challenge = _library(), self._challenge(cookie, name)
        try:
            found = web.verify_registration_response(
                credential=_checked(answer),
                expected_challenge=challenge,
                expected_rp_id=_rp_id(host),
                expected_origin=f"https://{host}",
                require_user_verification=True,
            )
        except (web.helpers.exceptions.WebAuthnException, ValueError) as error:
            raise _refused("this passkey is not accepted", str(error)[:100]) from None
        return Passkey(_text(found.credential_id), _text(found.credential_public_key), found.sign_count)

    def begin_login(self, host: str) -> tuple[str, str]:
        """Return what the browser is asked, as JSON, and the cookie that it brings back. Raises ConfigError: extra."""
        web = _library()
        required = web.helpers.structs.UserVerificationRequirement.REQUIRED
        options = web.generate_authentication_options(rp_id=_rp_id(host), user_verification=required)
        return web.options_to_json(options), self._sealed(options.challenge, "")

    def finish_login(self, host: str, cookie: str, answer: str, known: Passkey) -> int:
        """Return the counter of a passkey that has signed this login. Raises RefusedError (`passkey`)."""
        web, challenge = _library(), self._challenge(cookie, "")
        try:
            found = web.verify_authentication_response(
                credential=_checked(answer),
                expected_challenge=challenge,
                expected_rp_id=_rp_id(host),
                expected_origin=f"https://{host}",
                credential_public_key=web.base64url_to_bytes(known.public_key),
                credential_current_sign_count=known.sign_count,
                require_user_verification=True,
            )
        except (web.helpers.exceptions.WebAuthnException, ValueError) as error:
            raise _refused("this passkey is not accepted", str(error)[:100]) from None
        return int(found.new_sign_count)

    def _sealed(self, challenge: bytes, name: str) -> str:
        pending = Pending(_text(challenge), name, self._utc_ms() + CEREMONY_MS)
        return self._store_key.seal(msgspec.json.encode(pending).decode(), _PURPOSE)

    def _challenge(self, cookie: str, name: str) -> bytes:
        try:
            pending = typed_json.decode(self._store_key.open(cookie, _PURPOSE), Pending)
        except (StoreError, msgspec.DecodeError, ValueError):
            raise _refused("this was not begun in this browser") from None
        if pending.name != name or self._utc_ms() > pending.until_ms:
            raise _refused("this was begun too long ago")
        found: bytes = _library().base64url_to_bytes(pending.challenge)
        return found


def credential_id(answer: str) -> str:
    """Return which passkey an answer is of. Raises RefusedError (`passkey`)."""
    found = _checked(answer).get("id")
    if not isinstance(found, str) or not 1 <= len(found) <= 1400:
        raise _refused("this is not an answer of a passkey")
    return found


def _checked(answer: str) -> dict[str, Any]:
    try:
        return typed_json.decode(answer[:_MOST], dict[str, Any])
    except (msgspec.DecodeError, ValueError):
        raise _refused("this is not an answer of a passkey") from None


def _library() -> Any:
    with extras_named():
        import webauthn  # an extra
        import webauthn.helpers.exceptions
    return webauthn


def _descriptor(web: Any, known: str) -> Any:
    return web.helpers.structs.PublicKeyCredentialDescriptor(id=web.base64url_to_bytes(known))


def _text(octets: bytes) -> str:
    return str(_library().helpers.bytes_to_base64url(octets))


def _rp_id(host: str) -> str:
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and ":" in host else host


def _refused(text: str, hint: str = "begin again") -> RefusedError:
    return RefusedError(text, reason="passkey", hint=hint)
