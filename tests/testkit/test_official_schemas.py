"""Frames of a station and a script, held against schemas that this project did not write."""

import pytest

from tests.together import together
from v2g.ocpp.routes import Version
from v2g_testkit.official_schemas import FrameJudge

BOOT = '[2,"1","BootNotification",{"reason":"PowerUp","chargingStation":{"model":"M","vendorName":"V"}}]'


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_valid_frames_both_ways_are_nothing_to_speak_of(version: Version) -> None:
    judge = FrameJudge(version)
    assert judge.judge(BOOT, from_station=True) is None
    answer = '[3,"1",{"currentTime":"2026-01-01T00:00:00Z","interval":60,"status":"Accepted"}]'
    assert judge.judge(answer, from_station=False) is None
    assert judge.judge('[4,"2","InternalError","",{}]', from_station=False) is None
    assert judge.judge("[2", from_station=True) is None  # no frame: OCPP-J's own rules


@together(
    ("frame", "fault"),
    [
        (BOOT.replace("PowerUp", "Boredom"), 'BootNotificationRequest: $.reason: "Boredom" is not one of'),
        ('[2,"1","Heartbeat",{"extra":1}]', "HeartbeatRequest: $: Additional properties are not allowed"),
        ('[2,"1","StatusNotification",{"timestamp":"today"}]', "StatusNotificationRequest: $: "),
        (
            '[2,"1","NotifyReport",{"requestId":1,"seqNo":0,"generatedAt":"2026-01-01T00:00:00.0000Z"}]',
            "NotifyReportRequest: $.generatedAt: 2026-01-01T00:00:00.0000Z has more than 3 decimal places",
        ),
        ('[2,"1","Rest",{}]', "OCPP 2.0.1 has no RestRequest"),
        ('[2,"1","BatterySwap",{}]', "OCPP 2.0.1 has no BatterySwapRequest"),
        (f'[2,"1","{"x" * 300}",{{}}]', "OCPP 2.0.1 has no xxx"),
        ('[2,"1","../../v21/schemas/BatterySwap",{}]', "OCPP 2.0.1 has no ../"),
        (r'[2,"1","Boot\u0000Notification",{}]', "OCPP 2.0.1 has no Boot"),
    ],
)
def test_what_the_schema_rejects_is_named_with_its_place(frame: str, fault: str) -> None:
    found = FrameJudge("2.0.1").judge(frame, from_station=True)
    assert found is not None
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("number", "fits"), [(2**32 - 1, True), (2**32, False), (-(2**31) - 1, False), (10**400, False)]
)
@pytest.mark.parametrize("version", ["1.6", "2.1"])
def test_an_integer_has_32_bits(version: Version, number: int, fits: bool) -> None:
    """Devices store it so: a transactionId of 1.6 that is a time in ms does not arrive."""
    judge = FrameJudge(version)
    judge.judge('[2,"1","BootNotification",{}]', from_station=True)
    answer = f'[3,"1",{{"currentTime":"2026-01-01T00:00:00Z","interval":{number},"status":"Accepted"}}]'
    assert (judge.judge(answer, from_station=False) is None) == fits


def test_a_response_is_judged_by_the_request_that_it_answers() -> None:
    judge = FrameJudge("2.1")
    judge.judge(BOOT, from_station=True)
    assert judge.judge('[3,"1",{}]', from_station=True) is None, "the station answers no request of its own"
    found = judge.judge('[3,"1",{}]', from_station=False)
    assert found is not None
    assert found.startswith("BootNotificationResponse: $: ")
    assert judge.judge('[3,"1",{}]', from_station=False) is None, "answered already"


@pytest.mark.parametrize("deep", ["[" * 50_000, '[2,"1","Heartbeat",' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "]"])
def test_what_cannot_be_judged_is_not_valid(deep: str) -> None:
    """A judge that fails has not found that all is well."""
    assert FrameJudge("2.1").judge(deep, from_station=True) == "nested too deeply"


def test_half_of_a_surrogate_pair_is_a_fault() -> None:
    judge = FrameJudge("2.0.1")
    assert judge.judge('[2,"1","Heartbeat",{}]', from_station=True) is None
    found = judge.judge('[3,"1",{"currentTime":"\\ud800"}]', from_station=False)
    assert found == "has half of a surrogate pair, which UTF-8 cannot say"
