"""Functional block R, distributed energy resources: cases for back ends, all of OCPP 2.1."""

from typing import Final

from v2g_testkit.ocpp.case import Block, Payload
from v2g_testkit.ocpp.csms_cases.block_k import OF_21
from v2g_testkit.ocpp.csms_tester import CsmsTest

R: Final[Block[CsmsTest]] = Block(**OF_21, needs=("DER controls",), booted=True)
_FIELDS: Final = frozenset({
    "curve", "enterService", "fixedPFAbsorb", "fixedPFInject", "fixedVar", "freqDroop", "gradient", "limitMaxDischarge",
})  # fmt: skip


async def _sets(t: CsmsTest, kind: str, field: str, body: Payload, *, default: bool) -> str:
    """Have the back end set a control, which must have this field only; return its id. Raises Failed."""
    name = f"v2g-{kind}-{'default' if default else 'scheduled'}"
    wanted: Payload = {"isDefault": default, "controlId": name, "controlType": kind, field: body}
    sent = await t.asked("SetDERControl", "R04.FR.16", free=("controlId",), **wanted)
    others = sorted(_FIELDS & sent.keys() - {field})
    t.check(not others, "R04.FR.16", f"also sends {', '.join(others)}")
    timed = default and {"startTime", "duration"} & sent[field].keys()
    t.check(not timed, "R04.FR.12", "sends a default control with a time")
    return str(sent["controlId"])


@R.case("TC_R_107_CSMS", "Controls of a station", requirements="R04.FR.12 R04.FR.16 R04.FR.31")
async def controls(t: CsmsTest) -> None:
    """The back end sets controls with the field of their type only, reads them, and clears them."""
    limit: Payload = {"priority": 1, "pctMaxDischargePower": 50.0}
    first = await _sets(t, "LimitMaxDischarge", "limitMaxDischarge", limit, default=True)
    timed = limit | {"startTime": t.later(60), "duration": 600.0}
    second = await _sets(t, "LimitMaxDischarge", "limitMaxDischarge", timed, default=False)
    factor = {"priority": 1, "displacement": 0.95, "excitation": True}
    third = await _sets(t, "FixedPFInject", "fixedPFInject", factor, default=True)
    t.check(
        len({first, second, third}) == 3,
        "SetDERControlRequest",
        f"gives controls the same id: {first}, {second}, {third}",
    )
    sent = await t.asked("GetDERControl", "R04.FR.31", requestId=t.next_id(), controlType="LimitMaxDischarge")
    held = {"id": first, "isDefault": True, "isSuperseded": False, "limitMaxDischarge": limit}
    await t.call("ReportDERControl", requestId=sent["requestId"], limitMaxDischarge=[held])
    await t.asked("ClearDERControl", "R04.FR.45", isDefault=True, controlType="LimitMaxDischarge")


@R.case("TC_R_108_CSMS", "Reports of controls and events of the grid", also="R04.FR.20 R04.FR.22 R05.FR.01 R05.FR.02")
async def events(t: CsmsTest) -> None:
    """The back end takes the reports."""
    for started in (True, False):
        await t.call("NotifyDERStartStop", controlId="v2g-1", started=started, timestamp=t.now())
    alarm = {"controlType": "FreqDroop", "gridEventFault": "UnderFrequency"}
    for ended in (False, True):
        await t.call("NotifyDERAlarm", **alarm, alarmEnded=ended, timestamp=t.now())
