"""Error answers: application/problem+json (RFC 9457) with a hint for users."""

import logging
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec
from litestar.exceptions import HTTPException

from v2g import errors
from v2g.typed_json import Fields

T = TypeVar("T")

_log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem (RFC 9457).

    `type` names its kind where the status is not enough. `title` describes the kind, `detail` this
    occurrence, `hint` the remedy, `instance` the requested path. `code` is a stable code for programs, such as
    an OCPP error code.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    hint: str = ""
    instance: str = ""
    code: str = ""


class ApiError(Exception):
    """Raised by handlers to answer with an error. `code` is a stable code, `headers` are added to the answer."""

    def __init__(
        self, status: int, detail: str, hint: str = "", *, code: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status: Final = status
        self.detail: Final = detail
        self.hint: Final = hint
        self.code: Final = code
        self.headers: Final = headers or {}


def missing(what: str) -> ApiError:
    """Return the error for a resource that does not exist."""
    return ApiError(404, f"no such {what}", _WHERE.get(what, ""))


_WHERE: Final = {
    "station": "list them: v2g csms stations, or GET /stations",
    "transaction": "list them: v2g csms transactions, or GET /transactions",
    "request": "list them: v2g csms trust requests, or GET /certificates/requests",
    "token": "list them: v2g csms tokens, or GET /tokens; those of the API: GET /access/tokens",
    "user": "list them: v2g csms users list, or GET /access/users",
}
"""How to list the resources."""


def existing(what: str, found: T | None) -> T:
    """Return what was found. Raises ApiError 404 for None."""
    if found is None:
        raise missing(what)
    return found


def conflict(detail: str, hint: str = "", *, code: str = "") -> ApiError:
    """Return the error of a request that conflicts with the current state."""
    return ApiError(409, detail, hint, code=code)


def describe(error: Exception) -> ApiError:
    """Return the answer for an error. Unexpected ones are a 500 without details; the log has them, as it has what the
    database says, which names host and role to callers who have not logged in."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, errors.OcppError):
        status = 501 if error.not_there else 502
        return ApiError(status, f"the request to the station failed: {error}", error.hint, code=error.answer)
    if isinstance(error, errors.TimeoutExpired):
        return ApiError(504, str(error), error.hint, code=error.timer)
    if isinstance(error, errors.RefusedError):
        status = 503 if error.reason == "full" else 404 if error.reason.startswith("unknown_") else 409
        return ApiError(status, str(error), error.hint, code=error.reason)
    if isinstance(error, errors.CodecError | errors.ConfigError | errors.CertificateError):
        return ApiError(400, str(error), error.hint)
    if isinstance(error, errors.StoreError):
        _log.warning("%s", error)
        again = not isinstance(error, errors.UnstorableError)
        status, hint = (503, "try again") if again else (409, "do not send them again")
        return ApiError(status, error.answer, f"{hint}; the log of the back end says why")
    if isinstance(error, errors.TransportError):
        return ApiError(502, str(error), error.hint)
    if isinstance(error, errors.V2GError):
        return ApiError(409, str(error), error.hint)
    return ApiError(500, "internal error", "see the log of the back end")


def status_of(error: HTTPException) -> int:
    """Return the status for an error of the framework: 400 where the client left within its request."""
    return 400 if error.detail == "client disconnected prematurely" else error.status_code


def details(error: ApiError, instance: str) -> ProblemDetails:
    """Return the problem document of an error."""
    return ProblemDetails(
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail[:500],
        hint=error.hint,
        instance=quote(instance, safe="/:@!$&'()*+,;=~")[:500],  # RFC 9457: a URI reference
        code=error.code,
    )


_encode: Final = msgspec.json.Encoder().encode


def encoded(error: ApiError, instance: str) -> tuple[bytes, Fields]:
    """Return body and headers of the answer."""
    headers = dict(error.headers)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _encode(details(error, instance)), headers
