"""Functional block H, reservation: cases for charging stations."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, given, precondition
from v2g_testkit.ocpp.declaration import Token
from v2g_testkit.ocpp.station_cases import steps
from v2g_testkit.ocpp.station_tester import StationTest

H: Final[Block[StationTest]] = Block(profiles=("Reservation",), needs=("ReservationCtrlr.Available",))

HERE: Final = ("ReservationCtrlr.Available",)
ANYWHERE: Final = (*HERE, "ReservationCtrlr.NonEvseSpecific")
H_ANYWHERE: Final = H.having(needs=ANYWHERE)


async def _reserve(
    t: StationTest, *, token: Token | None = None, number: int | None = None, seconds: float = 3600, **more: object
) -> tuple[str, int]:
    """Reserve; return the status and the number. It is cancelled after the case."""
    identifier = t.next_id() if number is None else number
    t.undo(lambda: t.ask("CancelReservation", reservationId=identifier))
    payload = (token or t.token).payload
    until = t.later(seconds)
    answer = await t.ask("ReserveNow", id=identifier, expiryDateTime=until, idToken=payload, **more)
    return str(answer["status"]), identifier


async def _reserved(t: StationTest, **more: Any) -> int:
    """Reserve EVSE 1; return the number."""
    await steps.prefer(t, "ReservationCtrlr", "Enabled", "true")
    status, number = await _reserve(t, evseId=1, **more)
    t.check(status == "Accepted", "H01.FR.15", f"answers {status}")
    await steps.connector_is(t, "Reserved", "H01.FR.23")
    return number


async def _is_refused(t: StationTest, expected: str, requirement: str, **more: Any) -> None:
    status, _ = await _reserve(t, token=t.declared.other_token, **more)
    t.check(status == expected, requirement, f"answers {status} instead of {expected}")


async def _unavailable(t: StationTest, **place: object) -> None:
    """Take a place out of service, until the end of the case."""
    t.undo(lambda: t.ask("ChangeAvailability", operationalStatus="Operative", **place))
    await t.must_answer("Accepted", "G03.FR.02", "ChangeAvailability", operationalStatus="Inoperative", **place)
    await steps.connector_is(t, "Unavailable", "G03.FR.04")


async def _uses(t: StationTest, number: int, token: Token | None = None, *, frees: bool = False) -> None:
    """Charge by a reservation, which an event names; `frees`: its connector is available until the cable is there.

    Raises Failed.
    """
    t.forget()
    await t.present(token)
    if frees:
        await steps.connector_is(t, "Available", "H03.FR.10")
    await t.plug()
    event = await t.expect("TransactionEvent", "E03.FR.03", reservationId=number)
    await t.flowing(event=event)


@H.case("TC_H_01_CS", "Reserve an EVSE, and use it", also="H01.FR.15 H01.FR.23 H03.FR.01 H03.FR.09", quick=True)
async def used(t: StationTest) -> None:
    """The connector is reserved until the token of the reservation is presented, which charges there."""
    await _uses(t, await _reserved(t), frees=True)


@H.case("TC_H_02_CS", "Reserved for another token", quick=True)
async def for_another(t: StationTest) -> None:
    """Another token charges nothing at a reserved EVSE, neither locally nor remotely."""
    other = t.declared.other_token
    await given(steps.forget_tokens(t), _reserved(t), t.plug())
    t.forget()
    await t.present(other)
    await steps.refuses(t, "H03.FR.01")
    answer = await t.ask("RequestStartTransaction", idToken=other.payload, remoteStartId=t.next_id(), evseId=1)
    t.check(answer["status"] == "Rejected", "F01.FR.21", f"answers {answer['status']}")


@H.case("TC_H_03_CS", "Reserve an EVSE that is reserved")
async def twice(t: StationTest) -> None:
    """The station answers that the EVSE is occupied."""
    await given(_reserved(t))
    await _is_refused(t, "Occupied", "H01.FR.11", evseId=1)


@H.case("TC_H_04_CS", "Reserve an EVSE that charges")
async def charging(t: StationTest) -> None:
    """The station answers that the EVSE is occupied, as it does when only a cable is there."""
    await given(t.plug(), steps.connector_is(t, "Occupied", "H01.FR.11"))
    await _is_refused(t, "Occupied", "H01.FR.11", evseId=1)
    with precondition():
        await t.present()
        await t.flowing()
    await _is_refused(t, "Occupied", "H01.FR.11", evseId=1)


@H.case("TC_H_06_CS", "Reserve an EVSE that is unavailable")
async def unavailable(t: StationTest) -> None:
    """The station answers that the EVSE is unavailable."""
    await given(_unavailable(t, evse={"id": 1}))
    await _is_refused(t, "Unavailable", "H01.FR.14", evseId=1)


@H.case("TC_H_07_CS", "A reservation that is not used", also="H04.FR.01")
async def expires(t: StationTest) -> None:
    """The station reports the end of the reservation, makes the connector available, and charges others."""
    number = await _reserved(t, seconds=20)
    await steps.connector_is(t, "Available", "H04.FR.02", within=t.after(20))
    update = await t.expect("ReservationStatusUpdate", "H04.FR.03", reservationId=number)
    t.equal(update["reservationUpdateStatus"], "Expired", "H04.FR.03", "the update says {}")
    await t.present(t.declared.other_token)
    await t.plug()
    await t.flowing()


@H_ANYWHERE.case("TC_H_08_CS", "Reserve any EVSE, and use it", requirements="H01.FR.04 H01.FR.07 H01.FR.15 H03.FR.03")
async def any_used(t: StationTest) -> None:
    """The station accepts, and the token of the reservation charges."""
    status, number = await _reserve(t)
    t.check(status == "Accepted", "H01.FR.07", f"answers {status}")
    if t.declared.evses == 1:
        await steps.connector_is(t, "Reserved", "H01.FR.20")
    await _uses(t, number)


@H_ANYWHERE.case("TC_H_09_CS", "Reserve any EVSE when all are reserved", requirements="H01.FR.11")
async def all_reserved(t: StationTest) -> None:
    """The station answers that its EVSEs are occupied."""
    with precondition():
        for evse in range(1, t.declared.evses + 1):
            status, _ = await _reserve(t, evseId=evse)
            t.check(status == "Accepted", "H01.FR.15", f"answers {status}")
    await _is_refused(t, "Occupied", "H01.FR.11")


@H_ANYWHERE.case("TC_H_10_CS", "Reserve any EVSE when all charge")
async def all_charging(t: StationTest) -> None:
    """The station answers that its EVSEs are occupied."""
    for evse in range(1, t.declared.evses + 1):
        await t.charging(evse)
    await _is_refused(t, "Occupied", "H01.FR.11")


@H_ANYWHERE.case("TC_H_12_CS", "Reserve any EVSE of a station that is unavailable")
async def all_unavailable(t: StationTest) -> None:
    """The station answers that its EVSEs are unavailable."""
    await given(_unavailable(t))
    await _is_refused(t, "Unavailable", "H01.FR.14")


@H.case("TC_H_13_CS", "Reserve any EVSE where that is not supported")
async def specific_only(t: StationTest) -> None:
    """The station rejects a reservation without an EVSE."""
    t.needs(not t.has("ReservationCtrlr.NonEvseSpecific"), "the station takes reservations without an EVSE")
    await _is_refused(t, "Rejected", "H01.FR.19")


@H_ANYWHERE.case("TC_H_14_CS", "As many reservations of any EVSE as there are EVSEs")
async def as_many(t: StationTest) -> None:
    """The station accepts them, and reserves all of its connectors."""
    for number in range(t.declared.evses):
        status, _ = await _reserve(t, token=Token(f"5EA7{number:04X}", t.token.type))
        t.check(status == "Accepted", "H01.FR.07", f"answers {status} to reservation {number + 1}")
    await steps.all_connectors(t, "Reserved", "H01.FR.20")


async def _kind(t: StationTest) -> str:
    """Return the type of the first connector. Raises NotApplicable where such types are not reserved."""
    t.needs(t.has("ReservationCtrlr.NonEvseSpecific"), "the station takes no reservations without an EVSE")
    return await t.value("Connector", "ConnectorType", evse=1, connector=1)


@H.case("TC_H_15_CS", "Reserve a type of connector, and use it", also="H01.FR.06 H01.FR.15 H03.FR.02")
async def type_used(t: StationTest) -> None:
    """The station accepts, and the token of the reservation charges."""
    kind = await given(_kind(t))
    status, number = await _reserve(t, connectorType=kind)
    t.check(status == "Accepted", "H01.FR.09", f"answers {status}")
    await _uses(t, number)


@H.case("TC_H_16_CS", "Reserve a type of connector when all are reserved", requirements="H01.FR.11")
async def type_reserved(t: StationTest) -> None:
    """The station answers that its connectors are occupied."""
    with precondition():
        kind = await _kind(t)
        for evse in range(1, t.declared.evses + 1):
            status, _ = await _reserve(t, evseId=evse)
            t.check(status == "Accepted", "H01.FR.15", f"answers {status}")
    await _is_refused(t, "Occupied", "H01.FR.11", connectorType=kind)


@H.case("TC_H_17_CS", "Cancel a reservation", quick=True)
async def cancel(t: StationTest) -> None:
    """The station accepts, and makes the connector available."""
    number = await given(_reserved(t))
    t.forget()
    await t.must_answer("Accepted", "H02.FR.02", "CancelReservation", reservationId=number)
    await steps.connector_is(t, "Available", "H02.FR.02")


@H.case("TC_H_18_CS", "Cancel an unknown reservation")
async def cancel_unknown(t: StationTest) -> None:
    """The station rejects the request."""
    await t.must_answer("Rejected", "H02.FR.01", "CancelReservation", reservationId=t.next_id())


async def _charges_in_group(t: StationTest, number: int) -> None:
    """Charge with the other token, which is of the group of the reservation."""
    other = t.declared.other_token
    steps.let_be(t, {other: {"status": "Accepted", "groupIdToken": steps.GROUP}})
    await _uses(t, number, other)


@H.case("TC_H_19_CS", "Reserve an EVSE for a group", also="H01.FR.15 E03.FR.03")
async def for_group(t: StationTest) -> None:
    """Another token of the group of the reservation charges there, and one that is not of it does not."""
    await given(steps.forget_tokens(t))
    number = await given(_reserved(t, groupIdToken=steps.GROUP))
    stranger = t.declared.unknown_token
    await t.plug()
    await t.present(stranger)
    await steps.asks_about(t, stranger, "H03.FR.08")
    await steps.refuses(t, "H03.FR.04")
    await t.unplug()
    await _charges_in_group(t, number)


@H_ANYWHERE.case("TC_H_24_CS", "Reserve any EVSE for a group", requirements="H03.FR.06")
async def any_for_group(t: StationTest) -> None:
    """Another token of the group of the reservation charges."""
    await given(steps.forget_tokens(t))
    status, number = await _reserve(t, groupIdToken=steps.GROUP)
    t.check(status == "Accepted", "H01.FR.07", f"answers {status}")
    await _charges_in_group(t, number)


@H.case("TC_H_21_CS", "A reserved EVSE becomes unavailable", requirements="H01.FR.17")
async def removed(t: StationTest) -> None:
    """The station removes the reservation, says so, and others charge once the EVSE is in service again."""
    number = await given(_reserved(t))
    await _unavailable(t, evse={"id": 1})
    update = await t.expect("ReservationStatusUpdate", "H01.FR.17", reservationId=number)
    t.equal(update["reservationUpdateStatus"], "Removed", "H01.FR.17", "the update says {}")
    await t.ask("ChangeAvailability", operationalStatus="Operative", evse={"id": 1})
    await steps.connector_is(t, "Available", "G03.FR.07")
    await t.present(t.declared.other_token)
    await t.plug()
    await t.flowing()


@H.case("TC_H_22_CS", "Reserve where that is switched off")
async def disabled(t: StationTest) -> None:
    """The station rejects the reservation."""
    await given(t.demand("ReservationCtrlr", "Enabled", "false"))
    await _is_refused(t, "Rejected", "H01.FR.01", evseId=1)


@H.case("TC_H_23_CS", "Replace a reservation")
async def replaced(t: StationTest) -> None:
    """The station accepts a reservation of the same number, and charges its token."""
    with precondition():
        await steps.forget_tokens(t)
        number = await _reserved(t)
    status, _ = await _reserve(t, number=number, token=t.declared.other_token, evseId=1)
    t.check(status == "Accepted", "H01.FR.02", f"answers {status}")
    await t.present(t.declared.other_token)
    await t.plug()
    await t.flowing()
