"""Login of people by an OpenID provider: authorization code with PKCE, and a check of its ID token (Connect 1.0).

What a login needs when the browser comes back is in a sealed cookie, so any node can answer.
"""

import base64
import contextlib
import hashlib
import hmac
import secrets
import ssl
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from csms.accounts.config import OpenId, OpenIdRole
from csms.db.store_key import StoreKey
from v2g import typed_json
from v2g.errors import CodecError, RefusedError, StoreError, TransferError
from v2g.extras import extras_named
from v2g.io.http.client import request
from v2g.pki.keys import read_secret
from v2g.typed_json import Fields

LOGIN_MS: Final = 600_000
"""How long a login at the provider may take."""

_KEPT_MS: Final = 3_600_000
"""How long metadata of the provider are used; its keys are read at each login."""

_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
_LEEWAY_S: Final = 60
_MOST: Final = 1 << 20
_ANSWER_S: Final = 10.0
_PURPOSE: Final = "login by an OpenID provider"


class Metadata(msgspec.Struct, frozen=True):
    """What is needed of a provider's metadata (OpenID Connect Discovery 1.0, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class JwkSet(msgspec.Struct, frozen=True):
    """A provider's keys (RFC 7517)."""

    keys: tuple[Fields, ...]


class Pending(msgspec.Struct, frozen=True):
    """A login under way. `following`: the page after it."""

    state: str
    nonce: str
    verifier: str
    following: str
    until_ms: int


class Person(msgspec.Struct, frozen=True):
    """Whom the provider has identified: `subject` is unique with it."""

    subject: str
    name: str
    role: OpenIdRole


class OpenIdProvider:
    """Logs people in by a provider. The constructor raises ConfigError, KeyAccessError."""

    def __init__(self, config: OpenId, store_key: StoreKey, utc_ms: Callable[[], int]) -> None:
        with extras_named():
            import joserfc  # noqa: F401  an extra
        self._config, self._store_key, self._utc_ms = config, store_key, utc_ms
        self._secret = read_secret(config.client_secret_file).decode().strip()
        self._tls = ssl.create_default_context(cafile=None if config.root is None else str(config.root))
        self._known: tuple[Metadata, int] | None = None

    async def begin(self, following: str) -> tuple[str, str]:
        """Return where the browser goes, and the cookie that it brings back. Raises RefusedError (`provider`)."""
        metadata = await self._provider()
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        until_ms = self._utc_ms() + LOGIN_MS
        pending = Pending(secrets.token_urlsafe(24), secrets.token_urlsafe(24), verifier, following, until_ms)
        asked = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": self._config.redirect_uri,
            "scope": self._config.scope,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": challenge.decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        sealed = self._store_key.seal(msgspec.json.encode(pending).decode(), _PURPOSE)
        joint = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{joint}{urlencode(asked)}", sealed

    async def finish(self, cookie: str, answer: Mapping[str, str]) -> tuple[Person, str]:
        """Return who has logged in, and the page after it. `answer`: the parameters that the provider sent back.

        Raises RefusedError (`login`, `provider`).
        """
        try:
            pending = typed_json.decode(self._store_key.open(cookie, _PURPOSE), Pending)
        except (StoreError, msgspec.DecodeError, ValueError):
            raise _refused("this login was not begun in this browser") from None
        if self._utc_ms() > pending.until_ms:
            raise _refused("this login has taken too long")
        if not hmac.compare_digest(answer.get("state", "").encode(), pending.state.encode()):
            raise _refused("this login was not begun in this browser")
        if not answer.get("code"):
            raise _refused(f"the provider refused the login: {answer.get('error', '')[:64]}")
        token = await self._id_token(answer["code"], pending.verifier)
        claims = await self._checked(token)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), pending.nonce.encode()):
            raise _refused("the provider's token is of another login")
        name, found = str(claims.get(self._config.name_claim, "")).strip().lower(), claims.get(self._config.role_claim)
        values = {str(each) for each in found} if isinstance(found, list) else {str(found)}
        role = next((each for each in self._config.roles if each.value in values), None)
        if role is None:
            raise _refused("your account has no role here", "ask the administrator")
        return Person(f"{claims['iss']} {claims['sub']}", name, role), pending.following

    async def _provider(self) -> Metadata:
        if self._known is not None and self._utc_ms() < self._known[1]:
            return self._known[0]
        issuer = self._config.issuer.rstrip("/")
        try:
            metadata = typed_json.decode(await self._get(f"{issuer}/.well-known/openid-configuration"), Metadata)
        except (msgspec.DecodeError, ValueError) as error:
            raise _unreadable(error) from None
        if metadata.issuer.rstrip("/") != issuer:
            raise _refused("the OpenID provider is another issuer", reason="provider")
        self._known = metadata, self._utc_ms() + _KEPT_MS
        return metadata

    async def _id_token(self, code: str, verifier: str) -> str:
        metadata = await self._provider()
        asked = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._config.redirect_uri,
            "code_verifier": verifier,
        }
        basic = base64.b64encode(f"{quote(self._config.client_id, '')}:{quote(self._secret, '')}".encode()).decode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {basic}"}
        answer = await self._get(metadata.token_endpoint, urlencode(asked).encode(), headers)
        try:
            return str(typed_json.decode(answer, Fields)["id_token"])
        except (msgspec.DecodeError, KeyError):
            raise _refused("the OpenID provider sent no ID token", reason="provider") from None

    async def _checked(self, token: str) -> dict[str, object]:
        """Return the claims of an ID token (OpenID Connect Core 1.0, 3.1.3.7)."""
        from joserfc import jwt  # on demand: an extra
        from joserfc.errors import JoseError
        from joserfc.jwk import JWKRegistry, Key, KeySet

        metadata = await self._provider()
        try:
            published = typed_json.decode(await self._get(metadata.jwks_uri), JwkSet)
        except (msgspec.DecodeError, ValueError) as error:
            raise _unreadable(error) from None
        keys: list[Key] = []
        for each in published.keys:
            with contextlib.suppress(JoseError, ValueError, KeyError, TypeError):  # RFC 7517, 5: others are ignored
                keys.append(JWKRegistry.import_key(each))
        try:
            found = jwt.decode(token, KeySet(keys), algorithms=_ALGORITHMS)
            rules = jwt.JWTClaimsRegistry(
                now=self._utc_ms() // 1000,
                leeway=_LEEWAY_S,
                iss={"essential": True, "value": metadata.issuer},
                aud={"essential": True, "value": self._config.client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
            )
            rules.validate(found.claims)
        except (JoseError, ValueError) as error:
            raise _refused("the OpenID provider's token is not valid", str(error)[:100], reason="provider") from None
        claims: dict[str, object] = found.claims
        audience, party = claims["aud"], claims.get("azp")
        if (isinstance(audience, list) and len(audience) > 1 and party is None) or party not in (
            None,
            self._config.client_id,
        ):
            raise _refused("the OpenID provider's token is for another client", reason="provider")
        return claims

    async def _get(self, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
        if not url.startswith("https://"):
            raise _refused("the OpenID provider is not reached by https", reason="provider")
        method = "GET" if body is None else "POST"
        try:
            answer = await request(
                method, url, most=_MOST, timeout_s=_ANSWER_S, body=body, headers=headers, context=self._tls
            )
        except (TransferError, CodecError) as error:
            raise _refused("the OpenID provider does not answer", str(error), reason="provider") from None
        if not answer.ok:
            raise _refused(f"the OpenID provider answers {answer.status}", reason="provider")
        return answer.body


def _unreadable(error: Exception) -> RefusedError:
    return _refused("the OpenID provider's answer cannot be read", str(error)[:100], reason="provider")


def _refused(text: str, hint: str = "begin again", *, reason: str = "login") -> RefusedError:
    return RefusedError(text, reason=reason, hint=hint)
