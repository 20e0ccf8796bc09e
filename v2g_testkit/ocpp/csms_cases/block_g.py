"""Functional block G, availability: cases for back ends."""

from typing import Final

from v2g_testkit.ocpp.case import Block, Payload, precondition
from v2g_testkit.ocpp.csms_cases.transaction import charging
from v2g_testkit.ocpp.csms_tester import CsmsTest

G: Final[Block[CsmsTest]] = Block(booted=True)

_PLACES: Final[tuple[tuple[str, Payload | None], ...]] = (
    ("an EVSE", {"id": 1}),
    ("the station", None),
    ("a connector", {"id": 1, "connectorId": 1}),
)


async def change(t: CsmsTest, wanted: str, evse: Payload | None, status: str = "Accepted") -> None:
    """Have the back end change the availability of an EVSE, a connector or the station (no `evse`)."""
    requirement = "G04.FR.01" if evse is None else "G03"
    t.answer("ChangeAvailability", {"status": status})
    place: Payload = {} if evse is None else {"evse": evse}
    without = ("evse",) if evse is None else ()
    sent = await t.asked("ChangeAvailability", requirement, without=without, operationalStatus=wanted, **place)
    found = sent.get("evse")
    t.check(found == evse, requirement, f"changes {found} instead of {evse}")


async def _report(t: CsmsTest, status: str, evse: Payload | None) -> None:
    for each in (1, 2) if evse is None else (1,):
        await t.connector(status, each)


def _changes(id: str, place: str, evse: Payload | None, wanted: str) -> None:  # noqa: A002 - as in every case
    status = "Available" if wanted == "Operative" else "Unavailable"

    @G.case(
        id, f"{wanted}: {place}", requirements=("G04.FR.01" if evse is None else "G03",), needs=("availability",),
        quick=evse is None,
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        """The back end names exactly the station, EVSE or connector, and acknowledges the states that follow."""
        with precondition():
            if wanted == "Operative":
                await change(t, "Inoperative", evse)
                await _report(t, "Unavailable", evse)
            else:
                t.undo(lambda: change(t, "Operative", evse))
        await change(t, wanted, evse)
        await _report(t, status, evse)


def _scheduled(id: str, place: str, evse: Payload | None) -> None:  # noqa: A002
    @G.case(
        id, f"Inoperative during a transaction: {place}",
        requirements=("G04.FR.01" if evse is None else "G03", "J02.FR.19"), needs=("availability",),
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        """The back end follows the transaction to its end, and acknowledges the states that follow."""
        transaction = await charging(t)
        t.undo(lambda: change(t, "Operative", evse))
        await change(t, "Inoperative", evse, "Scheduled")
        if evse is None:
            await t.connector("Unavailable", 2)
        await transaction.stop_authorized()
        await transaction.post_session()
        await transaction.unplugged()
        await t.connector("Unavailable")


for _first, _last, (_place, _evse) in zip((3, 5, 7), (11, 14, 17), _PLACES, strict=True):
    _changes(f"TC_G_{_first:02}_CSMS", _place, _evse, "Inoperative")
    _changes(f"TC_G_{_first + 1:02}_CSMS", _place, _evse, "Operative")
    _scheduled(f"TC_G_{_last}_CSMS", _place, _evse)


@G.case("TC_G_20_CSMS", "Fault of a connector's lock", also="G05.FR.03")
async def lock_fault(t: CsmsTest) -> None:
    """The back end acknowledges NotifyEvent about the lock."""
    await t.event({"name": "ConnectorPlugRetentionLock"}, "Problem", "true")


@G.case("TC_G_01_CSMS", "State of a connector", also="G01.FR.01", versions=("2.1",), quick=True)
async def connector_states(t: CsmsTest) -> None:
    """The back end acknowledges the state of a connector, reported in either way."""
    for status in ("Occupied", "Available"):
        await t.connector(status)
