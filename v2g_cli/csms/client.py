"""Client of a back end's HTTP API; URL and credentials come from options, the environment, or a file."""

import contextlib
import json
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from v2g import errors
from v2g.config import parse_config
from v2g.io.http.client import HttpConnection, split_url
from v2g.io.runtime.program import read_config
from v2g.typed_json import Fields
from v2g_cli.output import say

DEFAULT_FILE: Final = Path("~/.config/v2g-engine/csms-client.toml")
_ANSWER_S: Final = 130.0
_DONE_S: Final = 1800.0
LOST: Final = "answer_not_kept"
_NONE: Final[Mapping[str, str]] = {}
_MOST_A_PAGE: Final = 1000
_IN_A_PATH: Final = "/?&=%:@!$'()*+,;~"
"""Characters that a path with a query may contain unescaped (RFC 3986)."""
_VARIABLES: Final = {
    "url": "V2G_CSMS_URL",
    "token": "V2G_CSMS_TOKEN",
    "ca": "V2G_CSMS_CA",
    "certificate": "V2G_CSMS_CERTIFICATE",
    "key": "V2G_CSMS_KEY",
}


class Access(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """URL and credentials of the API.

    `url` (`https://host:port`), `token` of the caller, `ca` (PEM): root of the server's certificate,
    `certificate` and `key` (PEM) of the caller in place of the token.
    """

    url: str = ""
    token: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def find_access(options: Fields, environment: Mapping[str, str], file: Path | None = None) -> Access:
    """Return the settings from options, else the environment, else the file. Raises ConfigError without a URL."""
    path = (file or DEFAULT_FILE).expanduser()
    found = Access()
    if file is not None or path.exists():
        found = parse_config(read_config(path), Access, name=str(path))
    said = {name: environment[variable] for name, variable in _VARIABLES.items() if environment.get(variable)}
    said |= {name: value for name, value in options.items() if value is not None}
    access = msgspec.structs.replace(
        found, **{name: Path(value) if name in ("ca", "certificate", "key") else value for name, value in said.items()}
    )
    if not access.url:
        hint = f"use --url, {_VARIABLES['url']}, or url in {DEFAULT_FILE}"
        raise errors.ConfigError("no back-end URL given", hint=hint)
    return access


def context_of(access: Access) -> ssl.SSLContext:
    """Return the TLS settings of an access. Raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=str(access.ca) if access.ca else None)
        if access.certificate is not None:
            context.load_cert_chain(access.certificate, access.key)
    except OSError as error:  # ssl.SSLError is one
        raise errors.ConfigError(f"certificates: {error}", hint="ca, certificate and key are PEM files") from None
    return context


class Answer(msgspec.Struct, frozen=True):
    """A response: the body, decoded if it is JSON, else its bytes; the next page's URL, if any."""

    body: Any
    next: str | None


class Pages:
    """The items of a list. `cut` is set after iteration if there are more."""

    def __init__(self, client: "CsmsClient", path: str, limit: int, query: Mapping[str, object]) -> None:
        self._client, self._path, self._query = client, path, query
        self.limit = limit
        self.cut = False

    def __iter__(self) -> Iterator[Any]:
        left = self.limit
        answer = self._client.ask("GET", self._path, limit=min(left, _MOST_A_PAGE), **self._query)
        while True:
            yield from answer.body[:left]
            self.cut = len(answer.body) > left or (len(answer.body) == left and answer.next is not None)
            left -= len(answer.body)
            if left <= 0 or answer.next is None:
                return
            answer = self._client.ask("GET", answer.next)


class CsmsClient:
    """Sends requests, one at a time. The constructor raises ConfigError for unreadable files."""

    def __init__(self, access: Access, timeout_s: float = _ANSWER_S, *, again_s: float = 2.0) -> None:
        """`again_s`: interval (s) of asking how a change ended."""
        self._access, self._timeout_s, self._again_s = access, timeout_s, again_s
        if not (access.token.isascii() and access.token.isprintable()):
            raise errors.ConfigError(
                "the token contains invalid characters", hint="copy it again: one line, as `v2g csms token` printed it"
            )
        try:
            parts = split_url(access.url if "//" in access.url else f"https://{access.url}")
        except errors.TransferError as error:
            raise errors.ConfigError(f"{access.url!r} is not an https:// URL of a back end", hint=str(error)) from None
        if access.token and parts.scheme != "https":  # whoever listens on the way would have the token
            raise errors.ConfigError(f"{access.url!r} is not an https:// URL of a back end", hint="a token needs TLS")
        self._base = parts.path.rstrip("/")
        context = context_of(access) if parts.scheme == "https" else None
        self._connection = HttpConnection(parts, context=context, timeout_s=self._timeout_s)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def ask(self, method: str, path: str, body: object = None, /, **query: object) -> Answer:
        """Return the response to a request. Raises a V2GError that matches the failure."""
        return self._answer(self._send(method, path, body, query))

    def _answer(self, response: HTTPResponse) -> Answer:
        with self._read_errors():
            content = response.read()
        if response.status >= 400:
            raise _error(response, content)
        if response.headers.get_content_type() != "application/json":
            return Answer(content or None, _next(response))
        with self._read_errors():
            return Answer(json.loads(content) if content else None, _next(response))

    def ask_until_done(self, method: str, path: str, body: object) -> Answer:
        """As `ask`, for a change that may outlive its answer: how it ended is asked under the same Idempotency-Key.

        Raises as `ask`; RefusedError (LOST) if it succeeded, but the answer was lost and had secrets.
        """
        key, since = secrets.token_hex(16), time.monotonic()
        while True:
            try:
                return self._answer(self._send(method, path, body, {}, {"Idempotency-Key": key}))
            except (errors.TimeoutExpired, errors.TransportError) as error:
                self._connection.close()
                say(f"{error}: asking how it ended", err=True)
            except errors.RefusedError as error:
                if error.reason != "key_in_use":
                    raise
            if time.monotonic() - since > _DONE_S:
                raise errors.TimeoutExpired(
                    "the end of the change", _DONE_S, hint="look at its effect before another attempt"
                )
            time.sleep(self._again_s)

    def pages(self, path: str, limit: int, /, **query: object) -> "Pages":
        """Return the items of a list, fetched page by page, `limit` at most."""
        return Pages(self, path, limit, query)

    def events(self, path: str, /, **query: object) -> Iterator[tuple[str, Any]]:
        """Yield (kind, data) of server-sent events until the stream ends."""
        response = self._send("GET", path, None, query)
        if response.status >= 400:
            raise _error(response, response.read())
        kind = ""
        with self._read_errors(), contextlib.closing(response):
            for raw in response:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield kind, json.loads(line.removeprefix("data: "))

    def _send(
        self, method: str, path: str, body: object, query: Mapping[str, object], more: Mapping[str, str] = _NONE
    ) -> HTTPResponse:
        said = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in query.items()
            if value is not None
        }
        target = (
            self._base
            + quote(path if path.startswith("/") else f"/{path}", safe=_IN_A_PATH)
            + (f"?{urlencode(said)}" if said else "")
        )
        headers = {"Accept": "application/json, */*;q=0.5", "Content-Type": "application/json", **more}
        if self._access.token:
            headers["Authorization"] = f"Bearer {self._access.token}"
        with self._read_errors():
            self._connection.request(method, target, None if body is None else json.dumps(body), headers)
            return self._connection.getresponse()

    @contextlib.contextmanager
    def _read_errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise errors.TimeoutExpired("answer", self._timeout_s, hint="is the back end busy?") from None
        except ssl.SSLCertVerificationError as error:
            hint = "set --ca to the root of its certificate"
            raise errors.TrustError(f"back end: {error.verify_message}", hint=hint) from None
        except (OSError, HTTPException) as error:
            raise errors.TransportError(f"back end: {error}", hint="is it running, and is --url right?") from None
        except ValueError as error:
            raise errors.TransportError(f"unexpected answer of the back end: {error}") from None


def _next(response: HTTPResponse) -> str | None:
    link = response.headers.get("Link", "")
    return link[1 : link.index(">")] if link.startswith("<") and 'rel="next"' in link else None


def _error(response: HTTPResponse, content: bytes) -> errors.V2GError:
    """Return a problem document (RFC 9457) as an error with the matching exit code."""
    try:
        problem = json.loads(content)
        text, hint, code = problem.get("detail") or problem["title"], problem.get("hint", ""), problem.get("code", "")
    except (ValueError, KeyError, AttributeError):
        text, hint, code = f"HTTP status {response.status}", "", ""
    match response.status:
        case 400 | 413:
            return errors.ConfigError(text, hint=hint)
        case 401 | 403:
            return errors.TrustError(text, hint=hint)
        case 501 | 502:
            return errors.OcppError(text, answer=code or "GenericError", hint=hint)
        case 503:
            return errors.StoreError(text, hint=hint)
        case 504:
            return errors.TimeoutExpired("the station's answer", 0, hint=hint or text)
    return errors.RefusedError(text, reason=code or str(response.status), hint=hint)
