"""Functional block G, availability: cases for charging stations."""

from typing import Final, Literal

from v2g_testkit.ocpp.case import Block, Failed, Payload, given
from v2g_testkit.ocpp.connection import Received, field_of
from v2g_testkit.ocpp.driver import Step
from v2g_testkit.ocpp.station_cases.steps import all_connectors, boot, connector_is, ended
from v2g_testkit.ocpp.station_tester import StationTest

G: Final[Block[StationTest]] = Block()

Place = Literal["EVSE", "station", "connector"]
_CHAPTER: Final[dict[Place, str]] = {"EVSE": "G03", "station": "G04", "connector": "G03"}


async def _ask(t: StationTest, place: Place, status: str, connector: int = 1) -> Payload:
    evse = {"id": 1} | ({"connectorId": connector} if place == "connector" else {})
    return await t.ask("ChangeAvailability", operationalStatus=status, **({} if place == "station" else {"evse": evse}))


async def _change(t: StationTest, place: Place, status: str, *expected: str, connector: int = 1) -> None:
    """Change the availability of a place. Raises Failed unless the station answers so."""
    answer = await _ask(t, place, status, connector)
    about = f"answers {answer['status']} instead of {' or '.join(expected)}"
    t.check(answer["status"] in expected, f"{_CHAPTER[place]}.FR.02", about)


async def _is(t: StationTest, place: Place, status: str, requirement: str) -> None:
    """Expect the status of all connectors of a place."""
    if place == "station":
        await all_connectors(t, status, requirement)
    else:
        await connector_is(t, status, requirement)


async def _unavailable(t: StationTest, place: Place) -> None:
    """Bring a place to Unavailable, until the end of the case."""
    t.undo(lambda: _ask(t, place, "Operative"))
    await given(_change(t, place, "Inoperative", "Accepted"), _is(t, place, "Unavailable", "G03.FR.04"))
    t.forget()


@G.case("TC_G_01_CS", "Connector becomes occupied", also="G01.FR.01", quick=True)
async def occupied(t: StationTest) -> None:
    """The station reports the connector as occupied once a vehicle is connected."""
    await t.plug()
    await connector_is(t, "Occupied", "G01.FR.03")


@G.case("TC_G_02_CS", "Connector becomes available", requirements="G01.FR.01 G01.FR.04")
async def available(t: StationTest) -> None:
    """The station reports the connector as available once the vehicle is gone."""
    await given(t.plug(), connector_is(t, "Occupied", "G01.FR.03"))
    t.forget()
    await t.unplug()
    await connector_is(t, "Available", "G01.FR.04")


def _case_of_change(number: int, place: Place, requirement: str, *, operative: bool, before: bool) -> None:
    """Add a case in which a free place is made operative or not, which it was or was not before."""
    status = "Operative" if operative else "Inoperative"
    changes = before != operative
    told = "and reports its connectors." if changes else "as nothing changes."

    @G.case(
        f"TC_G_{number:02}_CS", f"Make the {place} {status.lower()}" + ("" if changes else " once more"),
        required=f"The station accepts, {told}", requirements=(f"{_CHAPTER[place]}.FR.02", requirement),
    )  # fmt: skip
    async def script(t: StationTest) -> None:
        if before:
            t.undo(lambda: _ask(t, place, "Operative"))
        else:
            await _unavailable(t, place)
        await _change(t, place, status, "Accepted")
        if changes:
            await _is(t, place, "Available" if operative else "Unavailable", requirement)


_case_of_change(3, "EVSE", "G03.FR.06", operative=False, before=True)
_case_of_change(4, "EVSE", "G03.FR.07", operative=True, before=False)
_case_of_change(5, "station", "G04.FR.07", operative=False, before=True)
_case_of_change(6, "station", "G04.FR.08", operative=True, before=False)
_case_of_change(7, "connector", "G03.FR.04", operative=False, before=True)
_case_of_change(8, "connector", "G03.FR.04", operative=True, before=False)
_case_of_change(9, "EVSE", "G03.FR.03", operative=True, before=True)
_case_of_change(10, "EVSE", "G03.FR.03", operative=False, before=False)
_case_of_change(12, "station", "G04.FR.04", operative=True, before=True)
_case_of_change(13, "station", "G04.FR.04", operative=False, before=False)
_case_of_change(15, "connector", "G03.FR.03", operative=True, before=True)
_case_of_change(16, "connector", "G03.FR.03", operative=False, before=False)


@G.case("V2G-G-01-CS", "A token at an EVSE that is inoperative", requirements="OperationalStatusEnumType")
async def charges_nobody(t: StationTest) -> None:
    """The station charges nobody there, and does once the EVSE is operative again."""
    await _unavailable(t, "EVSE")
    await t.present()
    await t.plug()
    await t.nothing(
        "TransactionEvent", "OperationalStatusEnumType", within=5, transactionInfo__chargingState="Charging"
    )
    await t.unplug()
    await _change(t, "EVSE", "Operative", "Accepted")
    await connector_is(t, "Available", "G03.FR.07")
    await t.charging()


def _case_of_schedule(number: int, place: Place) -> None:
    chapter = _CHAPTER[place]
    requirement = f"{chapter}.FR.{'06' if place == 'station' else '05'}"

    @G.case(
        f"TC_G_{number}_CS",
        f"Make the {place} inoperative with a transaction",
        requirements=(f"{chapter}.FR.02", requirement),
    )
    async def script(t: StationTest) -> None:
        """The station schedules the change, and carries it out when the transaction has ended."""
        await t.charging()
        connector = t.occupied()
        t.undo(lambda: _ask(t, place, "Operative", connector))
        t.forget()
        await _change(t, place, "Inoperative", "Scheduled", connector=connector)
        if place == "station":
            for evse in range(2, t.declared.evses + 1):
                await connector_is(t, "Unavailable", "G04.FR.07", evse)
        await t.nothing("TransactionEvent", requirement, within=4, eventType="Ended")
        await t.nothing("StatusNotification", requirement, within=1, evseId=1, connectorStatus="Unavailable")
        await t.present()
        await t.unplug()
        await ended(t, "E07.FR.02")
        await connector_is(t, "Unavailable", requirement)


_case_of_schedule(11, "EVSE")
_case_of_schedule(14, "station")
_case_of_schedule(17, "connector")


def _case_of_reset(number: int, place: Place) -> None:
    requirement = "G04.FR.09" if place == "station" else "G03.FR.08"

    @G.case(f"TC_G_{number}_CS", f"The {place} stays inoperative over a reset", requirements=(requirement,))
    async def script(t: StationTest) -> None:
        """After the reset its connectors are still unavailable, and those of others available."""
        await _unavailable(t, place)
        async with t.reconnects():
            t.equal((await t.ask("Reset", type="OnIdle"))["status"], "Accepted", "B11.FR.01", "answers Reset with {}")
        await boot(t)
        await _is(t, place, "Unavailable", requirement)
        if place != "station":
            for evse in range(2, t.declared.evses + 1):
                await connector_is(t, "Available", "B01.FR.05", evse)


_case_of_reset(18, "EVSE")
_case_of_reset(19, "connector")
_case_of_reset(21, "station")


# -- locks (G05)


def _reports_lock(each: Received) -> bool:
    """Return whether a request reports a problem of the lock."""
    return each.action == "NotifyEvent" and any(
        field_of(event, "component__name") == _LOCK
        and field_of(event, "variable__name") == "Problem"
        and str(event.get("actualValue")).lower() == "true"
        for event in each.payload.get("eventData", [])
    )


_LOCK: Final = "ConnectorPlugRetentionLock"


@G.case("TC_G_20_CS", "A lock that fails", needs=("connector lock",))
async def lock_fails(t: StationTest) -> None:
    """The station reports the problem of the lock, and does not charge."""
    t.undo(lambda: t.do(Step("clear")))
    await t.do(Step("jam"))
    await t.plug()
    await t.present()
    if await t.find(_reports_lock) is None:
        raise Failed(f"does not report the problem of the {_LOCK}", "G05.FR.02")
    await t.nothing("TransactionEvent", "G05.FR.01", within=5, transactionInfo__chargingState="Charging")
