"""Events and programs as a VTN answers with them."""

from typing import Any

import msgspec

from v2g.openadr.objects import Event, Program, read_events, read_programs

START_MS = 1_675_987_200_000
START = "2023-02-10T00:00:00Z"
HOUR_MS = 3_600_000


def raw_event(event_id: str, kind: str, *values: Any, start: str = START, duration: str = "PT1H", **more: Any) -> Any:
    """Return an event with an interval for each value."""
    return {
        "id": event_id,
        "createdDateTime": "2023-02-09T12:00:00Z",
        "modificationDateTime": "2023-02-09T12:00:00Z",
        "objectType": "EVENT",
        "programID": "program-1",
        "intervalPeriod": {"start": start, "duration": duration},
        "intervals": [
            {"id": number, "payloads": [{"type": kind, "values": [value]}]} for number, value in enumerate(values)
        ],
        **more,
    }


def descriptor(kind: str, **more: str) -> dict[str, str]:
    """Return a payload descriptor."""
    return {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": kind, **more}


def raw_program(*descriptors: dict[str, str], program_id: str = "program-1") -> dict[str, Any]:
    """Return a program."""
    return {
        "id": program_id,
        "createdDateTime": "2023-01-01T00:00:00Z",
        "modificationDateTime": "2023-01-01T00:00:00Z",
        "objectType": "PROGRAM",
        "programName": f"name of {program_id}",
        "payloadDescriptors": list(descriptors),
    }


def events(*raw: Any) -> tuple[Event, ...]:
    """Return events of which all can be read."""
    found, problems = read_events(msgspec.json.encode(raw))
    assert not problems
    return found


def program(*descriptors: dict[str, str]) -> Program:
    """Return the program of those events."""
    return read_programs(msgspec.json.encode([raw_program(*descriptors)]))[0][0]
