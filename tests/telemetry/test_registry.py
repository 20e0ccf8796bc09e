"""The schema registry: files that say the same as the decoder."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.telemetry.columns import TAGGED
from v2g.errors import CodecError, ConfigError
from v2g.telemetry.registry import file_name, files, registered, shipped
from v2g.telemetry.signals import SCHEMAS, decode_record

pytestmark = pytest.mark.requirement("R112")

VALIDATORS = {
    schema: jsonschema.Draft202012Validator(json.loads((shipped() / file_name(schema)).read_text()))
    for schema in SCHEMAS
}
BASE: dict[str, Any] = {
    "ev": "EV-1", "boot": 1, "seq": 1, "utc_ms": 0, "context": "parked", "keyframe": True,
    "signals": {"battery.soc": 50.0},
}  # fmt: skip
COPY = {"session_id": "00" * 8, "number": 1, "checkpoint": "AAAA", "receipt": "AAAA"}
EVENT = {"program": "evcc", "name": "session.ended", "utc_ms": 1, "data": {"soc": 5.5}}
OPTIONAL: dict[str, list[Any]] = {
    "checkpoint": [COPY, {}, None],
    "trip": ["1-0", "", 1],
    "ambient_c": [18.5, None, 1000, "18"],
    "charging_w": [-5.0, None, 1e9],
    "event": [EVENT, EVENT | {"name": "session.unknown"}, EVENT | {"program": "csms"}, {}],
    "context": ["charging", "flying"],
    "cells": [
        {"begin_ms": 1, "samples": [[0, [37000, None]], [5, []]]},
        {"begin_ms": 1, "samples": [[0, [50001]]]},
        {"begin_ms": 1, "samples": [[-1, []]]},
        {"begin_ms": 1, "samples": [[0]]},
        {"begin_ms": 1},
    ],
    "signals": [{"battery.pressure": 101.3}, {}, {"engine.torque": 1}, {"battery.soc": 101}],
    "seq": [0, 2**53],
    "more": [1],
}


def test_the_files_are_what_the_types_say() -> None:
    assert {each.name: each.read_text() for each in shipped().iterdir()} == files(), "run `python docs/generate.py`"
    assert registered(shipped()) == set(SCHEMAS)
    for each in VALIDATORS.values():
        each.check_schema(each.schema)


@given(
    st.sampled_from(sorted(SCHEMAS)),
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in OPTIONAL.items()}),
)
def test_schema_and_decoder_agree(schema: str, fields: dict[str, Any]) -> None:
    record = BASE | fields | {"schema": schema}
    decoded = False
    with contextlib.suppress(CodecError):
        decoded = decode_record(json.dumps(record).encode()) is not None
    assert VALIDATORS[schema].is_valid(record) == decoded


@given(TAGGED)
def test_what_a_gateway_sends_is_valid(record: bytes) -> None:
    VALIDATORS["v2g-telemetry/5"].validate(json.loads(record))


def test_a_folder_is_read_by_the_ids_in_its_files(tmp_path: Path) -> None:
    shutil.copy(shipped() / file_name("v2g-telemetry/1"), tmp_path / "first.json")
    (tmp_path / "later.json").write_text('{"$id": "v2g-telemetry/9"}')
    assert registered(tmp_path) == {"v2g-telemetry/1", "v2g-telemetry/9"}
    for broken in ("", "[]", '{"id": 1}', '{"$id": 1}'):
        (tmp_path / "later.json").write_text(broken)
        with pytest.raises(ConfigError, match=r"later\.json"):
            registered(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        registered(tmp_path / "missing")
