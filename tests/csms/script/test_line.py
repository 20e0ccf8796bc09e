"""A station at a scripted back end, with time as an argument: what it receives, is asked, and is held to."""

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.script.declared import StationScript, read_script
from csms.script.station import CloseNow, Line, ScriptedLine, ScriptReport, SendText, report, settled
from tests.together import together
from v2g.ocpp.routes import Version

BOOT = {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
AUTHORIZE = {"idToken": {"idToken": "A", "type": "ISO14443"}}


class Meeting:
    """A station meets a script."""

    def __init__(self, text: str, version: Version = "2.0.1") -> None:
        self.script: StationScript = read_script(text, "script.yaml")
        numbers = itertools.count(1)
        self.line = ScriptedLine(self.script, "CS", lambda n: next(numbers).to_bytes(n, "big"))
        self.now = 100.0
        self.closed: int | None = None
        self.log: list[Line] = []
        self.sent: list[Any] = []
        self.connection = self.line.connected(version, self.now, 0)
        self.collect()

    def collect(self) -> None:
        """Take what is to be done."""
        self.line.tick(self.now, 0)
        for action in self.line.actions():
            match action:
                case SendText(text):
                    self.sent.append(text)
                case CloseNow(code):
                    self.closed = code
                case Line():
                    self.log.append(action)

    def get(self) -> Any:
        """Return the next frame to the station, decoded."""
        return json.loads(self.sent.pop(0))

    def wait(self, seconds: float) -> None:
        """Let time pass, from one deadline to the next."""
        end = self.now + seconds
        while (due := self.line.deadline(self.now)) is not None and due <= end:
            self.now = max(self.now, due)
            self.collect()
        self.now = end
        self.collect()

    def say(self, frame: Any) -> None:
        """Send a frame, a value or a text."""
        self.line.receive(frame if isinstance(frame, str) else json.dumps(frame), self.now, 0)
        self.collect()

    def call(self, action: str, payload: dict[str, Any] | None = None) -> Any:
        """Send a request; return the answer's frame, or None when none is sent at once."""
        before = len(self.sent)
        self.say([2, f"cs-{self.now}", action, payload or {}])
        return json.loads(self.sent.pop(before)) if len(self.sent) > before else None

    def ended(self) -> ScriptReport:
        """Return the report as of now."""
        return report(self.script, [self.line], self.now)

    def failures(self) -> list[str]:
        """Return the details of the checks that do not hold."""
        return [check.detail for check in self.ended().checks if not check.ok]


def test_without_a_script_everything_is_accepted() -> None:
    meeting = Meeting("{host: 127.0.0.1}")
    assert meeting.call("BootNotification", BOOT)[2]["status"] == "Accepted"
    assert meeting.call("Authorize", AUTHORIZE)[2] == {"idTokenInfo": {"status": "Accepted"}}
    assert meeting.ended().ok
    assert meeting.ended().requests == {"CS": {"Authorize": 1, "BootNotification": 1}}


def test_the_first_answer_that_fits_and_is_not_used_up_counts() -> None:
    meeting = Meeting(
        """
        answers:
          - {action: BootNotification, times: 2, do: reject, payload: {interval: 7}}
          - {action: BootNotification, when: {reason: PowerUp}, payload: {status: Pending}}
          - {action: "*", do: error, code: NotSupported, description: not today}
        """
    )
    answers = [meeting.call("BootNotification", BOOT)[2] for _ in range(3)]
    assert [each["status"] for each in answers] == ["Rejected", "Rejected", "Pending"]
    assert [each["interval"] for each in answers] == [7, 7, 300]
    again = {**BOOT, "reason": "Watchdog"}
    assert meeting.call("BootNotification", again)[2:4] == ["NotSupported", "not today"]


def test_an_answer_may_come_late_or_never() -> None:
    meeting = Meeting(
        "answers: [{action: Heartbeat, times: 1, delay_s: 5}, {action: Heartbeat, do: silent}, "
        "{action: Authorize, do: close, close_code: 1011}]"
    )
    assert meeting.call("Heartbeat") is None
    meeting.wait(4.9)
    assert meeting.sent == []
    meeting.wait(0.1)
    assert meeting.get()[0] == 3
    assert meeting.call("Heartbeat") is None
    meeting.wait(1000)
    assert meeting.sent == []
    meeting.call("Authorize", AUTHORIZE)
    assert meeting.closed == 1011


@together(
    ("how", "wrong"),
    [
        ("not_json", lambda text: not _is_json(text)),
        ("not_an_array", lambda text: isinstance(json.loads(text), dict)),
        ("wrong_id", lambda text: json.loads(text)[1] != "cs-100.0"),
        ("no_payload", lambda text: len(json.loads(text)) == 2),
        ("text_payload", lambda text: json.loads(text)[2] == "nonsense"),
        ("missing_field", lambda text: "currentTime" not in json.loads(text)[2]),
        ("unknown_field", lambda text: json.loads(text)[2]["unheardOf"] == 1),
    ],
)
def test_an_answer_is_damaged_as_the_script_says(how: str, wrong: Any) -> None:
    meeting = Meeting(f"answers: [{{action: Heartbeat, do: malformed, how: {how}}}]")
    meeting.say([2, "cs-100.0", "Heartbeat", {}])
    (text,) = meeting.sent
    assert wrong(text)


def test_an_answer_may_come_twice() -> None:
    meeting = Meeting("answers: [{action: Heartbeat, do: malformed, how: twice}]")
    meeting.say([2, "1", "Heartbeat", {}])
    assert meeting.sent[0] == meeting.sent[1]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


CALLS = """
calls:
  - {name: first, delay_s: 2, action: Reset, payload: {type: OnIdle}, expect: {status: Accepted}, within_s: 3}
  - {name: second, after: first, action: GetLocalListVersion, expect: {versionNumber: {min: 1}}}
  - {after: Heartbeat, count: 2, delay_s: 1, action: ClearCache, error: NotSupported}
expect:
  - {action: Heartbeat, at_least: 2, within_s: 60}
  - {name: boots again, action: BootNotification, after: first, when: {reason: RemoteReset}, within_s: 30}
"""


def test_calls_go_out_at_their_time_one_after_the_other_and_are_judged() -> None:
    meeting = Meeting(CALLS)
    meeting.wait(1.9)
    assert meeting.sent == []
    meeting.wait(0.1)
    reset = meeting.get()
    assert reset[2:] == ["Reset", {"type": "OnIdle"}]
    for _ in range(2):
        meeting.call("Heartbeat")
    meeting.wait(1)
    assert meeting.sent == []  # one call at a time
    meeting.say([3, reset[1], {"status": "Accepted"}])
    cache = meeting.get()
    assert cache[2] == "ClearCache"
    meeting.say([4, cache[1], "NotSupported", "", {}])
    version = meeting.get()
    assert version[2] == "GetLocalListVersion"
    meeting.say([3, version[1], {"versionNumber": 4}])
    assert not settled(meeting.script, [meeting.line], meeting.now)
    meeting.call("BootNotification", {**BOOT, "reason": "RemoteReset"})
    assert settled(meeting.script, [meeting.line], meeting.now)
    assert meeting.ended().ok


def test_what_a_station_does_wrong_is_in_the_report() -> None:
    meeting = Meeting(CALLS)
    meeting.wait(2)
    meeting.get()
    meeting.wait(3.1)
    version = meeting.get()
    meeting.say([3, version[1], {"versionNumber": 0}])
    meeting.call("BootNotification", {"reason": "PowerUp"})
    meeting.say("nonsense")
    meeting.say([3, "unheard-of", {}])
    meeting.say([4, "unheard-of"])
    meeting.say([2, "x", "NoSuchAction", {}])
    meeting.say([7, "x"])
    meeting.wait(60)
    failures = "\n".join(meeting.failures())
    for part in (
        "no answer within 3 s",
        "versionNumber is 0, not min 1",
        "never sent",
        "0 times; expected at least 2 within 60 s",
        "0 times; expected at least 1 within 30 s",
        "BootNotification: Object missing required field `chargingStation`",
        "and 1 more",
    ):
        assert part in failures


def test_a_wrong_request_is_answered_as_ocpp_wants() -> None:
    meeting = Meeting("{strict: false}")
    assert meeting.call("BootNotification", {"reason": "PowerUp"})[2] == "OccurrenceConstraintViolation"
    assert meeting.call("NoSuchAction")[2] == "NotImplemented"
    meeting.say([2, 3, "Heartbeat", {}])
    assert meeting.get()[1:3] == ["-1", "RpcFrameworkError"]
    assert meeting.ended().ok


@pytest.mark.parametrize(
    ("frame", "identifier"),
    [([2, "7", "Heartbeat"], "7"), ([2, 7, "Heartbeat", {}], "-1"), ([2, "x" * 37, "Heartbeat", {}], "-1")],
)
def test_a_malformed_request_is_answered_with_its_message_id_if_that_can_be_read(frame: Any, identifier: str) -> None:
    meeting = Meeting("{strict: false}")
    meeting.say(frame)
    assert meeting.get()[:3] == [4, identifier, "RpcFrameworkError"]


def test_a_reset_is_followed_over_the_next_connection() -> None:
    meeting = Meeting(CALLS)
    meeting.wait(2)
    meeting.say([3, meeting.get()[1], {"status": "Accepted"}])
    meeting.get()
    assert meeting.line.disconnected(meeting.connection, meeting.now)
    meeting.collect()
    again = meeting.line.connected("2.0.1", meeting.now, 0)
    assert not meeting.line.disconnected(meeting.connection, meeting.now)
    assert again == 2
    meeting.call("BootNotification", {**BOOT, "reason": "RemoteReset"})
    boots = next(check for check in meeting.ended().checks if check.what == "boots again")
    assert boots.ok
    assert "the connection ended before the answer" in "\n".join(meeting.failures())


def test_how_often_something_may_happen() -> None:
    text = "{duration_s: 10, expect: [{action: Heartbeat, at_least: 0, at_most: 1}]}"
    meeting = Meeting(text)
    assert meeting.ended().ok
    meeting.call("Heartbeat")
    assert meeting.ended().ok
    assert not settled(meeting.script, [meeting.line], meeting.now)
    meeting.call("Heartbeat")
    assert meeting.failures() == ["2 times; expected at least 0, at most 1"]


def test_a_call_may_be_repeated() -> None:
    meeting = Meeting("calls: [{action: ClearCache, times: 3, every_s: 10}]")
    for _ in range(3):
        frame = meeting.get()
        meeting.say([3, frame[1], {"status": "Accepted"}])
        meeting.wait(10)
    assert meeting.sent == []
    assert meeting.ended().ok


def test_a_frame_is_sent_as_it_is_and_what_comes_back_may_be_expected() -> None:
    meeting = Meeting(
        """
        calls:
          - {frame: '[2,"a","Reset",{}]', error: OccurrenceConstraintViolation}
          - {frame: '{', delay_s: 1}
        """
    )
    assert meeting.sent.pop() == '[2,"a","Reset",{}]'
    meeting.say([4, "a", "OccurrenceConstraintViolation", "", {}])
    meeting.wait(1)
    assert meeting.sent.pop() == "{"
    meeting.say([4, "-1", "RpcFrameworkError", "", {}])
    assert meeting.ended().ok


def test_streamed_values_count_and_are_not_answered() -> None:
    meeting = Meeting("expect: [{action: NotifyPeriodicEventStream}]", "2.1")
    data = {"id": 1, "pending": 0, "basetime": "2026-01-01T00:00:00Z", "data": [{"t": 0, "v": "1"}]}
    meeting.say([6, "x", "NotifyPeriodicEventStream", data])
    assert meeting.sent == []
    assert meeting.ended().ok


def test_defaults_other_than_yes() -> None:
    assert Meeting("default: not_supported").call("Heartbeat")[2] == "NotSupported"
    assert Meeting("default: silent").call("Heartbeat") is None
    assert Meeting("default: reject").call("Authorize", AUTHORIZE)[2]["idTokenInfo"]["status"] == "Invalid"
    assert "currentTime" in Meeting("default: reject").call("Heartbeat")[2]


def test_passwords_are_not_in_the_log() -> None:
    meeting = Meeting(
        """
        calls:
          - action: SetVariables
            payload:
              setVariableData:
                - attributeValue: hunter2
                  component: {name: SecurityCtrlr}
                  variable: {name: BasicAuthPassword}
        """
    )
    assert "hunter2" in meeting.sent[0]
    assert "hunter2" not in str(meeting.log)


def test_nobody_there_is_a_failure() -> None:
    script = read_script("{duration_s: 1}", "script.yaml")
    found = report(script, [], 0)
    assert not found.ok
    assert found.checks[0].detail == "none did"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.long
@given(
    st.lists(st.text(max_size=20) | json_values | st.tuples(st.sampled_from([2, 3, 4, 5, 6]), json_values), max_size=5)
)
def test_whatever_a_station_sends_the_line_holds(frames: list[Any]) -> None:
    meeting = Meeting(CALLS, "2.1")
    for frame in frames:
        meeting.line.receive(frame if isinstance(frame, str) else msgspec.json.encode(frame).decode(), meeting.now, 0)
        meeting.wait(3)
    assert isinstance(meeting.ended().ok, bool)
