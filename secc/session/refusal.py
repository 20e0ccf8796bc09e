"""Negative responses of ISO 15118-2 and DIN 70121: each request's own type; an edition gives the mandatory fields."""

from collections.abc import Mapping
from enum import Enum

import msgspec

from v2g.exi.declare import Element
from v2g.iso15118.engine import app_protocol as app


def negative_response(
    request: Element,
    code: str,
    *,
    codes: type[Enum],
    elements: Mapping[str, type[Element]],
    values: Mapping[str, object],
) -> Element:
    """Return the negative response to `request`; `code` is a value of the edition's `codes`.

    `elements` are the edition's messages by name, `values` those of every mandatory field besides ResponseCode and
    ServiceID. The handshake has one negative response, whatever the code.
    """
    if isinstance(request, app.SupportedAppProtocolReq):
        return app.SupportedAppProtocolRes(response_code=app.ResponseCode.Failed_NoNegotiation)
    response = elements[type(request).__name__.removesuffix("Req") + "Res"]
    known = {**values, "response_code": codes(code), "service_id": getattr(request, "service_id", 0)}
    return response(**{field.name: known[field.name] for field in msgspec.structs.fields(response) if field.required})
