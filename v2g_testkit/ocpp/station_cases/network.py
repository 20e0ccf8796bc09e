"""Network profiles of a station: another one set, chosen, and left again after the case (A05, B09, B10)."""

from typing import Final

from v2g_testkit.ocpp.case import Failed, Payload, given
from v2g_testkit.ocpp.station_cases.steps import boot
from v2g_testkit.ocpp.station_tester import StationTest

PRIORITY: Final = ("OCPPCommCtrlr", "NetworkConfigurationPriority")
_SLOTS: Final = ("0", "1", "2", "3")
"""Tried where the station does not list its slots."""


async def offer(
    t: StationTest, url: str, level: int | None = None, *, to: str = "", **more: object
) -> tuple[str, Payload]:
    """Set a slot that is not in use, or `to`; return it, and the answer. `level`: security profile, else the present.
    `more`: further fields of NetworkConnectionProfileType.

    Raises NotApplicable without such a slot.
    """
    in_use = set((await t.value(*PRIORITY)).split(","))
    # the slots of the station (B09.FR.05)
    slot = to or next((each for each in (t.values_of(*PRIORITY) or list(_SLOTS)) if each not in in_use), "")
    t.needs(bool(slot), "all of its slots are in use")
    data = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": url,
        "messageTimeout": 30,
        "securityProfile": t.opening.security_profile if level is None else level,
        "ocppInterface": "Wired0",
    } | more
    return slot, await t.ask("SetNetworkProfile", configurationSlot=int(slot), connectionData=data)


async def prefer_url(t: StationTest, url: str, level: int | None = None, *, only: bool = False) -> str:
    """Set a slot, and put it before the others, or alone, in the order of slots; return the former order.

    It is restored after the case, with a reset if the station is elsewhere then. Raises Failed.
    """
    before, home = await t.value(*PRIORITY), t.opening.host
    slot, answer = await offer(t, url, level)
    t.check(answer["status"] == "Accepted", "B09.FR.01", f"answers {answer['status']} to the network profile")

    async def back() -> None:
        await t.write(*PRIORITY, before)
        if t.opening.host != home:
            await leave(t)
            await t.reconnected()

    t.undo(back)
    status = await t.write(*PRIORITY, slot if only else f"{slot},{before}")
    t.check(status in ("Accepted", "RebootRequired"), "B10.FR.01", f"answers {status} to the order of slots")
    return before


async def leave(t: StationTest) -> None:
    """Reset the station, and wait until its connection has ended. Raises Failed."""
    t.equal((await t.ask("Reset", type="OnIdle"))["status"], "Accepted", "B11.FR.01", "answers Reset with {}")
    await t.disconnected("B11.FR.03")


async def migrate(t: StationTest, url: str, level: int | None = None) -> None:
    """Let the station boot with a network profile of this URL before the one that it has. Raises Failed."""
    await given(prefer_url(t, url, level), leave(t))
    await t.reconnected("B10.FR.04")
    await boot(t, "B10.FR.04")


async def tried(t: StationTest, host: str, number: int, requirement: str) -> None:
    """Wait until the station has tried to connect somewhere so often in this case. Raises Failed."""
    if not await t.until(lambda: t.hosts.count(host) >= number, t.declared.away_seconds):
        raise Failed(f"tries {host} {t.hosts.count(host)} times instead of {number}", requirement)
