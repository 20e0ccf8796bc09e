"""Error answers: application/problem+json (RFC 9457) with a hint for people."""

from http import HTTPStatus
from typing import Any, Final

import msgspec

from v2g.errors import (
    CertificateError,
    CodecError,
    ConfigError,
    OcppError,
    RefusedError,
    StoreError,
    TimeoutExpired,
    TransportError,
    V2GError,
)

MEDIA_TYPE: Final = "application/problem+json"


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem (RFC 9457).

    `type` names its kind where the status says too little. `title` is the kind in words, `detail` what happened this
    time, `hint` what to do about it, `instance` the path that was asked. `code` is a stable word for machines, such as
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
    """What a handler raises to answer with an error. `code` is a stable word, `headers` go into the answer."""

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
    """Return the error of a thing that does not exist."""
    return ApiError(404, f"there is no such {what}", _WHERE.get(what, ""))


_WHERE: Final = {
    "station": "v2g csms stations, or GET /stations, lists those that ever connected",
    "transaction": "v2g csms transactions, or GET /transactions, lists them",
    "token": "v2g csms tokens, or GET /tokens, lists who may charge; GET /access/tokens, who may ask",
}
"""Where a person finds what there is."""


def conflict(detail: str, hint: str = "", *, code: str = "") -> ApiError:
    """Return the error of a request that conflicts with the current state."""
    return ApiError(409, detail, hint, code=code)


def describe(error: Exception) -> ApiError:
    """Return how an error is answered. What nobody foresaw is a 500 that tells nothing; the log has it."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, OcppError):
        status = 501 if error.answer in ("NotImplemented", "NotSupported") else 502
        return ApiError(status, f"the station refused: {error}", error.hint, code=error.answer)
    if isinstance(error, TimeoutExpired):
        return ApiError(504, str(error), error.hint, code=error.timer)
    if isinstance(error, RefusedError):
        status = 503 if error.reason == "full" else 404 if error.reason.startswith("unknown_") else 409
        return ApiError(status, str(error), error.hint, code=error.reason)
    if isinstance(error, CodecError | ConfigError | CertificateError):
        return ApiError(400, str(error), error.hint)
    if isinstance(error, StoreError):
        return ApiError(503, str(error), "try again")
    if isinstance(error, TransportError):
        return ApiError(502, str(error), error.hint)
    if isinstance(error, V2GError):
        return ApiError(409, str(error), error.hint)
    return ApiError(500, "something went wrong here", "the log of the back end tells what")


def details(error: ApiError, instance: str) -> ProblemDetails:
    """Return the document that tells of an error."""
    return ProblemDetails(
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail[:500],
        hint=error.hint,
        instance=instance[:500],
        code=error.code,
    )


_encode: Final = msgspec.json.Encoder().encode


def encoded(error: ApiError, instance: str) -> tuple[bytes, dict[str, Any]]:
    """Return body and headers of the answer."""
    headers = dict(error.headers)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _encode(details(error, instance)), headers
