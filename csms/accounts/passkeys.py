"""Passkeys of people (WebAuthn): an authenticator that has verified its user replaces password and second factor.

The challenge of a ceremony is in a sealed cookie, so any node can finish it: once, by the digest that the store keeps.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from csms.db.store_key import StoreKey
from v2g import typed_json
from v2g.errors import RefusedError, StoreError
from v2g.extras import extras_named
from v2g.typed_json import Fields

CEREMONY_MS: Final = 300_000
"""How long a person may take."""

_PURPOSE: Final = "passkey"
_ISSUER: Final = "v2g-engine"
_MOST: Final = 20_000


class PendingCeremony(msgspec.Struct, frozen=True):
    """A ceremony under way: of a person with this name, or a login (""); `adds` a passkey, or is signed by one."""

    challenge: str
    name: str
    adds: bool
    until_ms: int

    @property
    def octets(self) -> bytes:
        """The challenge."""
        found: bytes = _library().base64url_to_bytes(self.challenge)
        return found


class Passkey(NamedTuple):
    """A passkey: its id and public key (COSE), base64url, and its counter."""

    credential_id: str
    public_key: str
    sign_count: int


class Passkeys:
    """Begins and finishes ceremonies of the console at `origin` (`api.origin`), whatever host a request names."""

    def __init__(self, origin: str, store_key: StoreKey, utc_ms: Callable[[], int]) -> None:
        self._origin, self._host = origin, urlsplit(origin).hostname
        self._store_key, self._utc_ms = store_key, utc_ms

    def begin_adding(self, name: str, known: Sequence[str]) -> tuple[str, str]:
        """Return what the browser is asked, as JSON, and the cookie that it brings back. Raises ConfigError: extra."""
        web = self._web()
        options = web.generate_registration_options(
            rp_id=self._host,
            rp_name=_ISSUER,
            user_name=name,
            user_id=name.encode(),
            exclude_credentials=[_descriptor(web, each) for each in known],
            authenticator_selection=web.helpers.structs.AuthenticatorSelectionCriteria(
                resident_key=web.helpers.structs.ResidentKeyRequirement.REQUIRED,
                user_verification=web.helpers.structs.UserVerificationRequirement.REQUIRED,
            ),
        )
        return web.options_to_json(options), self._sealed(options.challenge, name, adds=True)

    def finish_adding(self, pending: PendingCeremony, answer: str) -> Passkey:
        """Return the passkey that an authenticator has made. Raises RefusedError (`passkey`)."""
        found = self._verified(self._web().verify_registration_response, pending, answer)
        return Passkey(_text(found.credential_id), _text(found.credential_public_key), found.sign_count)

    def begin_signing(self, name: str, known: Sequence[str]) -> tuple[str, str]:
        """Return what the browser is asked, and the cookie that it brings back: of a login ("", any passkey), or to
        prove that it is somebody, by one that is `known`. Raises ConfigError: extra."""
        web = self._web()
        required = web.helpers.structs.UserVerificationRequirement.REQUIRED
        options = web.generate_authentication_options(
            rp_id=self._host, user_verification=required, allow_credentials=[_descriptor(web, each) for each in known]
        )
        return web.options_to_json(options), self._sealed(options.challenge, name, adds=False)

    def finish_signing(self, pending: PendingCeremony, answer: str, known: Passkey) -> int:
        """Return the counter of a passkey that has signed. Raises RefusedError (`passkey`)."""
        web = self._web()
        found = self._verified(
            web.verify_authentication_response,
            pending,
            answer,
            credential_public_key=web.base64url_to_bytes(known.public_key),
            credential_current_sign_count=known.sign_count,
        )
        return int(found.new_sign_count)

    def pending(self, cookie: str, name: str, *, adds: bool) -> PendingCeremony:
        """Return the ceremony of a cookie. Raises RefusedError (`passkey`) unless it is of this kind and not over."""
        try:
            pending = typed_json.decode(self._store_key.open(cookie, _PURPOSE), PendingCeremony)
        except (StoreError, msgspec.DecodeError, ValueError):
            raise refused("this was not begun in this browser") from None
        if (pending.name, pending.adds) != (name, adds) or self._utc_ms() > pending.until_ms:
            raise refused("this was begun too long ago")
        return pending

    def _verified(self, verify: Callable[..., object], pending: PendingCeremony, answer: str, **more: object) -> Any:
        """Return what the library finds. User verification is required: without, a passkey is one factor, not two."""
        try:
            return verify(
                credential=_checked(answer),
                expected_challenge=pending.octets,
                expected_rp_id=self._host,
                expected_origin=self._origin,
                require_user_verification=True,
                **more,
            )
        except (_library().helpers.exceptions.WebAuthnException, ValueError) as error:
            raise refused("this passkey is not accepted", str(error)[:100]) from None

    def _sealed(self, challenge: bytes, name: str, *, adds: bool) -> str:
        pending = PendingCeremony(_text(challenge), name, adds, self._utc_ms() + CEREMONY_MS)
        return self._store_key.seal(msgspec.json.encode(pending).decode(), _PURPOSE)

    def _web(self) -> Any:
        if not self._origin:
            raise refused("there are no passkeys here", "set api.origin in the configuration of the back end")
        return _library()


def credential_id(answer: str) -> str:
    """Return which passkey an answer is of. Raises RefusedError (`passkey`)."""
    found = _checked(answer).get("id")
    if not isinstance(found, str) or not 1 <= len(found) <= 1400:
        raise refused("this is not an answer of a passkey")
    return found


def _checked(answer: str) -> dict[str, object]:
    try:
        return typed_json.decode(answer[:_MOST], Fields)
    except (msgspec.DecodeError, ValueError):
        raise refused("this is not an answer of a passkey") from None


def _library() -> Any:
    with extras_named():
        import webauthn  # an extra
        import webauthn.helpers.exceptions
    return webauthn


def _descriptor(web: Any, known: str) -> object:
    return web.helpers.structs.PublicKeyCredentialDescriptor(id=web.base64url_to_bytes(known))


def _text(octets: bytes) -> str:
    return str(_library().helpers.bytes_to_base64url(octets))


def refused(text: str, hint: str = "begin again") -> RefusedError:
    """Return why a passkey does not serve."""
    return RefusedError(text, reason="passkey", hint=hint)
