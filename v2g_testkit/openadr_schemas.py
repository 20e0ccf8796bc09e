"""JSON Schemas of the requests of the OpenADR 3.1.1 API, from its OpenAPI document (`components/schemas`)."""

from functools import cache
from typing import Any, Final

import jsonschema_rs

from v2g_testkit.official_schemas import first_fault

_END: Final = r"(?![\s\S])"
"""The end of a text, in every dialect of regular expressions."""
_DURATION: Final = (
    r"^-?P(?=\d|T\d)(\d+Y)?(\d+M)?(\d+[DW])?"
    r"(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?" + _END
)
_ID: Final = {"type": "string", "pattern": r"^[a-zA-Z0-9_-]*" + _END, "minLength": 1, "maxLength": 128}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 128}
_TIME: Final = {"type": "string", "format": "date-time"}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _or_null(schema: dict[str, object]) -> dict[str, object]:
    return {"anyOf": [schema, {"type": "null"}]}


_SPAN: Final = {"type": "string", "pattern": _DURATION}
_PERIOD: Final = _object("", start=_TIME, duration=_SPAN, randomizeStart=_SPAN)
_POINT: Final = _object("x y", x={"type": "number"}, y={"type": "number"})
_VALUE: Final = {"anyOf": [{"type": ["number", "string", "boolean"]}, _POINT]}
_VALUES: Final = _object("type values", type=_NAME, values=_list(_VALUE))
_INTERVAL: Final = _object("id payloads", id={"type": "integer"}, intervalPeriod=_PERIOD, payloads=_list(_VALUES))
_TARGETS: Final = _or_null(_list(_NAME))
_TEXT: Final = _or_null({"type": "string"})
_UNITS: Final = _or_null(_NAME)
_EVENT_DESCRIPTOR: Final = _object(
    "objectType payloadType",
    objectType={"const": "EVENT_PAYLOAD_DESCRIPTOR"},
    payloadType=_NAME,
    units=_UNITS,
    currency=_TEXT,
)
_REPORT_DESCRIPTOR: Final = _object(
    "objectType payloadType",
    objectType={"const": "REPORT_PAYLOAD_DESCRIPTOR"},
    payloadType=_NAME,
    readingType=_UNITS,
    units=_UNITS,
    accuracy={"type": ["number", "null"]},
    confidence={"type": ["integer", "null"], "minimum": 0, "maximum": 100},
)
_REPORT_WANTED: Final = _object(
    "payloadType",
    payloadType=_NAME,
    readingType=_UNITS,
    units=_UNITS,
    targets=_TARGETS,
    aggregate={"type": "boolean"},
    historical={"type": "boolean"},
    reportIntervals={"enum": ["INTERVALS", "SUB_INTERVALS", "OPEN_INTERVALS"]},
    **{key: {"type": "integer"} for key in ("startInterval", "numIntervals", "frequency", "repeat")},
)

SCHEMAS: Final = {
    "programRequest": _object(
        "programName",
        programName=_NAME,
        intervalPeriod=_PERIOD,
        payloadDescriptors=_or_null(_list({"anyOf": [_EVENT_DESCRIPTOR, _REPORT_DESCRIPTOR]})),
        attributes=_or_null(_list(_VALUES)),
        targets=_TARGETS,
    ),
    "eventRequest": _object(
        "programID",
        programID=_ID,
        eventName=_TEXT,
        duration=_SPAN,
        priority={"type": ["integer", "null"], "minimum": 0},
        targets=_TARGETS,
        reportDescriptors=_or_null(_list(_REPORT_WANTED)),
        payloadDescriptors=_or_null(_list(_EVENT_DESCRIPTOR)),
        intervalPeriod=_PERIOD,
        intervals=_list(_INTERVAL),
    ),
    "reportRequest": _object(
        "eventID clientName resources",
        eventID=_ID,
        clientName=_NAME,
        reportName=_TEXT,
        payloadDescriptors=_or_null(_list(_REPORT_DESCRIPTOR)),
        resources=_list(
            _object("resourceName intervals", resourceName=_NAME, intervalPeriod=_PERIOD, intervals=_list(_INTERVAL))
        ),
    ),
}


def fault_of(request: str, document: object) -> str | None:
    """Return the error in a request's body, by the schema of that name, or None."""
    return first_fault(_validator(request), document)


@cache
def _validator(request: str) -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator(SCHEMAS[request])
