"""The script of a back end: answers, calls and expectations; parsed and validated."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from csms.script.payloads import check_conditions, fill, response_payload
from v2g.config import locate, nearest, parse_config
from v2g.errors import ConfigError, OcppError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import SUBPROTOCOLS, UNCONFIRMED, Version, known, request_type, response_type
from v2g.ocpp.versions import read_payload
from v2g.typed_json import Fields

ANY: Final = "*"
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Conditions = Fields

Deed = Literal["accept", "reject", "answer", "error", "malformed", "silent", "close"]
Damage = Literal[
    "not_json", "not_an_array", "wrong_id", "no_payload", "text_payload", "missing_field", "unknown_field", "twice"
]


class ScriptedAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer to a station's request: the first matching one in the file that is not used up counts.

    `action` of the request (`*`: any) and conditions on its payload (`when`). `times`: how often, then the next one
    applies; `delay_s` before it is sent. `do`: `accept` or `reject` it as a back end would, with changes by `payload`;
    `answer` with exactly `payload`; `error` (CALLERROR with `code` and `description`); `malformed`, damaged as `how`
    specifies; `silent`; `close` the connection with `close_code`. `unchecked`: `payload` may violate the schema.
    """

    action: str
    when: Conditions = {}
    times: Count | None = None
    delay_s: Seconds = 0.0
    do: Deed = "accept"
    payload: Fields = {}
    code: str = "InternalError"
    description: Annotated[str, msgspec.Meta(max_length=255)] = ""
    how: Damage = "not_json"
    close_code: Annotated[int, msgspec.Meta(ge=1000, le=4999)] = 1000
    unchecked: bool = False


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request of the back end to every station.

    When: `delay_s` after the station's first connection, or after the `count`-th request of the station for action
    `after` that matches `when`, or after the call named `after` was answered; `times` times in total,
    `every_s`. What: `action` with `payload`, or `frame`, a text that is sent unchanged. The answer must meet `expect`
    (conditions on its payload), or be a CALLERROR of code `error`, `within_s`. `name` appears in the
    report. `unchecked`: `payload` may violate the schema.
    """

    name: str = ""
    action: str = ""
    payload: Fields = {}
    frame: str = ""
    after: str = ""
    when: Conditions = {}
    count: Count = 1
    delay_s: Seconds = 0.0
    times: Count = 1
    every_s: Seconds = 0.0
    expect: Conditions = {}
    error: str = ""
    within_s: Seconds | None = None
    unchecked: bool = False


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An expectation of every station: `action` with a payload that matches `when`, `at_least` and `at_most` times.

    It counts from the station's first connection, or from when the call named `after` was sent, for `within_s`.
    `name` appears in the report.
    """

    name: str = ""
    action: str
    when: Conditions = {}
    at_least: Annotated[int, msgspec.Meta(ge=0)] = 1
    at_most: Annotated[int, msgspec.Meta(ge=0)] | None = None
    after: str = ""
    within_s: Seconds | None = None


class StationScript(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file.

    Stations connect to `ws://host:port/<path>/<identity>`; with `certificate` and `key` (PEM) to `wss:`, with
    `client_roots` by certificate. Passwords are not checked. `subprotocols` in order of preference. `default`: the
    answer to other requests. The run ends after `duration_s`; without it as soon as all expectations
    are met, or by Ctrl-C. `call_timeout_s`: time-out of stations' answers. `strict`: a frame that
    violates OCPP-J or its schema fails the run.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9000
    path: str = "/ocpp"
    certificate: Path | None = None
    key: Path | None = None
    client_roots: tuple[Path, ...] = ()
    subprotocols: tuple[Literal["ocpp2.1", "ocpp2.0.1", "ocpp1.6"], ...] = ("ocpp2.1", "ocpp2.0.1")
    default: Literal["accept", "reject", "silent", "not_supported"] = "accept"
    duration_s: Seconds | None = None
    call_timeout_s: Seconds = 30.0
    strict: bool = True
    answers: tuple[ScriptedAnswer, ...] = ()
    calls: tuple[Call, ...] = ()
    expect: tuple[Expectation, ...] = ()

    @property
    def versions(self) -> tuple[Version, ...]:
        """The versions of OCPP, in order of preference."""
        return tuple(SUBPROTOCOLS[name] for name in self.subprotocols)


class _Wrong(NamedTuple):
    """An error in a script, its place, and the remedy."""

    where: tuple[str, ...]
    what: str
    hint: str = ""


def read_script(text: str, name: str) -> StationScript:
    """Return a script; the suffix of `name` selects TOML or YAML. Raises ConfigError with the line."""
    script = parse_config(text, StationScript, name=name)
    for wrong in _problems(script):
        place = ".".join(wrong.where)
        raise ConfigError(f"{name}:{locate(text, wrong.where, name)}: {place}: {wrong.what}", hint=wrong.hint)
    return script


def _problems(script: StationScript) -> Iterator[_Wrong]:
    if not script.subprotocols:
        yield _Wrong(("subprotocols",), "empty", '["ocpp2.1", "ocpp2.0.1"] offers both')
    if (script.certificate is None) != (script.key is None):
        yield _Wrong(("key" if script.key else "certificate",), "certificate and key go together")
    names = [call.name for call in script.calls if call.name]
    for number, answer in enumerate(script.answers):
        yield from _answer_problems(answer, ("answers", str(number)), script.versions)
    for number, call in enumerate(script.calls):
        yield from _call_problems(call, ("calls", str(number)), script.versions, names)
    for number, expected in enumerate(script.expect):
        where = ("expect", str(number))
        yield from _action_problems(expected.action, (*where, "action"), script.versions)
        yield from _condition_problems(expected.when, (*where, "when"))
        if expected.after and expected.after not in names:
            yield _Wrong((*where, "after"), f"no call is named {expected.after!r}", nearest(expected.after, names))
        if expected.at_most is not None and expected.at_most < expected.at_least:
            yield _Wrong((*where, "at_most"), f"{expected.at_most} is less than at_least ({expected.at_least})")


def _answer_problems(answer: ScriptedAnswer, where: tuple[str, ...], versions: tuple[Version, ...]) -> Iterator[_Wrong]:
    if answer.action != ANY:
        yield from _action_problems(answer.action, (*where, "action"), versions)
    yield from _condition_problems(answer.when, (*where, "when"))
    if answer.action in UNCONFIRMED and answer.do not in ("silent", "close"):
        yield _Wrong((*where, "do"), f"{answer.action} has no answer", "use silent or close")
    if answer.do not in ("accept", "reject", "answer") or answer.action not in _all(versions) - UNCONFIRMED:
        return
    mine = [version for version in versions if answer.action in known(version)]
    if answer.do == "reject" and all(
        response_payload(answer.action, {}, good=False, utc_ms=0, version=version) is None for version in mine
    ):
        hint = "use error for a CALLERROR, or accept with a changed payload"
        yield _Wrong((*where, "do"), f"the answer to {answer.action} cannot express a rejection", hint)
        return
    for version in mine:
        if not answer.unchecked:
            payload = answer_payload(answer, answer.action, {}, 0, version)
            type_ = response_type(answer.action, version)
            yield from _payload_problems(payload, type_, version, (*where, "payload"))


def answer_payload(
    answer: ScriptedAnswer, action: str, request: dict[str, object], utc_ms: int, version: Version
) -> dict[str, object]:
    """Return the payload of an answer to a request."""
    if answer.do == "answer":
        return answer.payload
    standard = response_payload(action, request, good=answer.do == "accept", utc_ms=utc_ms, version=version)
    return fill(standard or {}, answer.payload)


def _call_problems(
    call: Call, where: tuple[str, ...], versions: tuple[Version, ...], names: list[str]
) -> Iterator[_Wrong]:
    if bool(call.action) == bool(call.frame):
        yield _Wrong((*where, "frame" if call.frame else "name"), "exactly one of action and frame is required", "")
    yield from _condition_problems(call.expect, (*where, "expect"))
    yield from _condition_problems(call.when, (*where, "when"))
    if call.after and call.after not in names and call.after not in _all(versions):
        hint = nearest(call.after, [*names, *_all(versions)])
        yield _Wrong((*where, "after"), f"{call.after!r} is neither an action nor the name of a call", hint)
    if call.name and names.count(call.name) > 1:
        yield _Wrong((*where, "name"), f"two calls are named {call.name!r}")
    if call.name in _all(versions):
        yield _Wrong((*where, "name"), f"{call.name} is an action", "choose another name")
    if not call.action:
        return
    wrong = list(_action_problems(call.action, (*where, "action"), versions))
    yield from wrong
    for version in () if wrong or call.unchecked else versions:
        if call.action in known(version):
            yield from _payload_problems(call.payload, request_type(call.action, version), version, (*where, "payload"))


def _action_problems(action: str, where: tuple[str, ...], versions: tuple[Version, ...]) -> Iterator[_Wrong]:
    if action not in _all(versions):
        yield _Wrong(where, f"{action!r} is not in OCPP {' or '.join(versions)}", nearest(action, _all(versions)))


def _condition_problems(conditions: Conditions, where: tuple[str, ...]) -> Iterator[_Wrong]:
    for key, problem, hint in check_conditions(conditions):
        yield _Wrong((*where, key), problem, hint)


def _payload_problems(
    payload: dict[str, object], type_: type[Message], version: Version, where: tuple[str, ...]
) -> Iterator[_Wrong]:
    try:
        read_payload(msgspec.json.encode(payload), type_, version)
    except OcppError as error:
        yield _Wrong(where, f"not valid in OCPP {version}: {error}", "unchecked = true sends it anyway")


def _all(versions: tuple[Version, ...]) -> frozenset[str]:
    return frozenset().union(*(known(version) for version in versions))
