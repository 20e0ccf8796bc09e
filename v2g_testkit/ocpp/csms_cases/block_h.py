"""Functional block H, reservation: cases for back ends."""

import asyncio
from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Inconclusive, Payload
from v2g_testkit.ocpp.csms_tester import CsmsTest

H: Final[Block[CsmsTest]] = Block(profiles=("Reservation",), needs=("reservation",), booted=True)

_LONGEST_S: Final = 120.0
_PLACES: Final = ("evseId", "connectorType")


async def _reserve(
    t: CsmsTest, requirement: str, status: str = "Accepted", *, seconds: float = 3600, **more: object
) -> Payload:
    """Have the back end reserve for the token, at the place that `more` names and no other; return the request."""

    def answer(payload: Payload) -> Payload:
        if status == "Accepted":
            t.undo(lambda: t.asked("CancelReservation", reservationId=payload["id"]))
        return {"status": status}

    t.answer("ReserveNow", answer)
    wanted: Payload = {
        "id": t.next_id(),
        "expiryDateTime": t.later(seconds),
        "idToken": t.declared.token.payload,
        **more,
    }
    without = tuple(each for each in _PLACES if each not in more)
    sent = await t.asked("ReserveNow", requirement, without=without, **wanted)
    t.is_later(sent["expiryDateTime"], requirement)
    return sent


def _reserves(
    id: str,  # noqa: A002 - as in every case
    title: str,
    requirement: str,
    *,
    need: str,
    reserved: tuple[int, ...] = (1,),
    times: int = 1,
    **more: Any,
) -> None:
    @H.case(id, title, also="H01", needs=(need,), quick=id == "TC_H_01_CSMS")
    async def script(t: CsmsTest) -> None:
        """The back end reserves for the token at this place, and acknowledges the state of the connectors."""
        found = set()
        for _ in range(times):
            sent = await _reserve(t, requirement, **more)
            found.add(sent["id"])
        t.check(len(found) == times, "H01", "gives two reservations the same id")
        for evse in reserved:
            await t.connector("Reserved", evse)


_reserves("TC_H_01_CSMS", "Reserve an EVSE", "H01", need="reservation", evseId=1)
_reserves("TC_H_08_CSMS", "Reserve any EVSE", "H01", need="reservation of any EVSE", reserved=())
_reserves(
    "TC_H_14_CSMS", "As many reservations as EVSEs", "H01", need="reservation of any EVSE", reserved=(1, 2), times=2
)
_reserves(
    "TC_H_15_CSMS", "Reserve a type of connector", "H01", need="reservation of a type of connector",
    connectorType="cType2",
)  # fmt: skip


@H.case("TC_H_07_CSMS", "Reservation that is not used", also="H01")
async def expires(t: CsmsTest) -> None:
    """The back end reserves for the token, and acknowledges that the reservation expires."""
    sent = await _reserve(t, "H01", seconds=t.declared.seconds, evseId=1)
    await t.connector("Reserved")
    remaining_s = t.until(sent["expiryDateTime"])
    if remaining_s > _LONGEST_S:
        raise Inconclusive(f"the back end reserves for {remaining_s:.0f} s, longer than it was asked for")
    await asyncio.sleep(max(0.0, remaining_s))
    await t.connector("Available")
    await t.call("ReservationStatusUpdate", reservationId=sent["id"], reservationUpdateStatus="Expired")


@H.case("TC_H_17_CSMS", "Cancel a reservation", also="H02")
async def cancel(t: CsmsTest) -> None:
    """The back end cancels the reservation by its id, and acknowledges the state of the connector."""
    sent = await _reserve(t, "H01", evseId=1)
    await t.connector("Reserved")
    await t.asked("CancelReservation", "H02", reservationId=sent["id"])
    await t.connector("Available")


@H.case("TC_H_19_CSMS", "Reserve for a group", also="H01", needs=("reservation", "token groups"))
async def reserve_for_group(t: CsmsTest) -> None:
    """The back end names the group of the token in the reservation."""
    group = {"idToken": t.declared.group, "type": "Central"}
    await _reserve(t, "H01", evseId=1, groupIdToken=group)
    await t.connector("Reserved")


@H.case("TC_H_20_CSMS", "The station removes a reservation when it faults", also="H01")
async def removed(t: CsmsTest) -> None:
    """The back end acknowledges the fault, and that the reservation is removed."""
    sent = await _reserve(t, "H01", evseId=1)
    await t.connector("Reserved")
    await t.connector("Faulted")
    await t.call("ReservationStatusUpdate", reservationId=sent["id"], reservationUpdateStatus="Removed")


@H.case("TC_H_22_CSMS", "The station rejects a reservation", also="H01")
async def rejected(t: CsmsTest) -> None:
    """The back end continues after the answer Rejected."""
    await _reserve(t, "H01", "Rejected", evseId=1)
    await t.call("Heartbeat")
