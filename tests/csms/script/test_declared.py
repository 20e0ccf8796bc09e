"""A script is checked as a whole before anything listens; what is wrong is named with its line."""

import re
from typing import Any

import pytest

from csms.script.declared import read_script
from tests.together import together
from v2g.errors import ConfigError

GOOD = """
default: reject
answers:
  - action: BootNotification
    times: 2
    do: reject
  - action: BootNotification
    payload: {interval: 10}
  - action: Authorize
    when: {idToken.type: ISO14443}
    do: error
    code: InternalError
calls:
  - name: reset
    after: BootNotification
    count: 3
    action: Reset
    payload: {type: OnIdle}
    expect: {status: Accepted}
expect:
  - action: BootNotification
    after: reset
    within_s: 5
"""


def test_a_script_says_what_it_says() -> None:
    script = read_script(GOOD, "script.yaml")
    assert [answer.do for answer in script.answers] == ["reject", "accept", "error"]
    assert script.calls[0].expect == {"status": "Accepted"}
    assert script.versions == ("2.1", "2.0.1")


@together(
    ("old", "new", "line", "said", "hint"),
    [
        ("    times: 2", "    tiems: 2", 5, "unknown key", "did you mean 'times'?"),
        ("    payload: {interval: 10}", "    paylod: {interval: 10}", 8, "unknown key", "did you mean 'payload'?"),
        ("    do: reject", "    do: refuse", 6, "refuse", "one of accept, reject"),
        (
            "  - action: Authorize",
            "  - action: Authorise",
            9,
            "'Authorise' is not in OCPP",
            "did you mean 'Authorize'?",
        ),
        ("{interval: 10}", "{interval: soon}", 8, "not valid in OCPP 2.1", "unchecked = true"),
        ("{type: OnIdle}", "{type: Later}", 18, "not valid in OCPP 2.1", "unchecked = true"),
        ("{idToken.type: ISO14443}", "{idToken.type: {mn: 3}}", 10, "unknown condition 'mn'", "did you mean 'min'?"),
        ("{idToken.type: ISO14443}", "{idToken.type: {min: x}}", 10, "min needs a number", ""),
        ("    after: BootNotification", "    after: BootNotificatoin", 15, "neither an action", "'BootNotification'?"),
        ("    after: reset", "    after: rest", 22, "no call is named 'rest'", "did you mean 'reset'?"),
        ("    action: Reset", "    frame: '[2]'\n    action: Reset", 17, "exactly one of action and frame", ""),
        ("    within_s: 5", "    at_most: 0", 21, "at_least: is above at_most", ""),
        ("    do: reject", "    delay_s: x", 6, "must be a number", ""),
        ("default: reject", "default: reject\ncertificate: a.pem", 3, "go together", ""),
        ("default: reject", "subprotocols: []", 2, "empty", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_the_nearest_word(
    old: str, new: str, line: int, said: str, hint: str
) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read_script(GOOD.replace(old, new, 1), "script.yaml")
    assert str(caught.value).startswith(f"script.yaml:{line}: ")
    assert said in str(caught.value)
    assert hint in caught.value.hint


def test_lines_are_found_in_toml_too() -> None:
    text = '[[answers]]\naction = "Heartbeat"\n\n[[answers]]\naction = "Heartbeet"\n'
    with pytest.raises(ConfigError, match=re.escape("script.toml:5: answers.1.action")):
        read_script(text, "script.toml")


@pytest.mark.parametrize(
    "answer",
    [
        {"action": "StatusNotification", "do": "reject"},
        {"action": "NotifyPeriodicEventStream"},
        {"action": "NoSuchAction"},
        {"action": "Heartbeat", "do": "answer"},
    ],
)
def test_what_cannot_be_answered_so_is_refused(answer: dict[str, Any]) -> None:
    import json

    with pytest.raises(ConfigError):
        read_script(json.dumps({"answers": [answer]}), "script.yaml")


def test_an_action_of_21_is_only_known_where_21_is_spoken() -> None:
    text = "subprotocols: [ocpp2.0.1]\nanswers: [{action: NotifySettlement}]"
    with pytest.raises(ConfigError, match=r"not in OCPP 2\.0\.1"):
        read_script(text, "script.yaml")
    read_script(text.replace("ocpp2.0.1", "ocpp2.1"), "script.yaml")


def test_a_payload_that_breaks_the_schema_may_be_sent_on_purpose() -> None:
    read_script("answers: [{action: Heartbeat, do: answer, payload: {currentTime: 7}, unchecked: true}]", "a.yaml")


@together("text", ["[]", "answers: 3", "answers: [[]]", "a: [", "\0", "answers: [{action: [1]}]"])
def test_what_is_no_script_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_script(text, "script.yaml")
