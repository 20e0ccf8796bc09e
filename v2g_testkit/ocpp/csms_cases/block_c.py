"""Functional block C, authorization: cases for back ends."""

from collections.abc import Callable
from typing import Final

from v2g_testkit.ocpp.case import Block, Payload, precondition
from v2g_testkit.ocpp.csms_cases.transaction import Transaction
from v2g_testkit.ocpp.csms_tester import CsmsTest
from v2g_testkit.ocpp.declaration import CsmsDeclaration, Token

C: Final[Block[CsmsTest]] = Block()


# -- tokens


def _token_case(
    id: str,  # noqa: A002 - as in every case
    title: str,
    token_of: Callable[[CsmsDeclaration], Token],
    statuses: tuple[str, ...],
    requirements: tuple[str, ...],
) -> None:
    @C.case(
        id,
        title,
        required=f"The back end answers Authorize with {' or '.join(statuses)}.",
        requirements=requirements,
        quick=True,
    )
    async def script(t: CsmsTest) -> None:
        await t.ready()
        _has_status(t, await t.authorize(token_of(t.declared)), statuses, requirements[0])


def _has_status(t: CsmsTest, info: Payload, statuses: tuple[str, ...], requirement: str) -> None:
    t.check(info["status"] in statuses, requirement, f"answers {info['status']}, not {' or '.join(statuses)}")


_token_case(
    "TC_C_02_CSMS",
    "Token that the back end does not know",
    lambda declared: declared.unknown_token,
    ("Invalid", "Unknown"),
    ("C01.FR.07", "C04.FR.01", "C06.FR.04"),
)
_token_case(
    "TC_C_06_CSMS", "Blocked token", lambda declared: declared.blocked_token, ("Blocked", "Invalid"), ("C01.FR.07",)
)
_token_case(
    "TC_C_07_CSMS", "Expired token", lambda declared: declared.expired_token, ("Expired", "Invalid"), ("C01.FR.07",)
)
_token_case("V2G-C-01-CSMS", "Valid token", lambda declared: declared.token, ("Accepted",), ("C01.FR.07",))


def _cached_case(
    id: str,  # noqa: A002
    title: str,
    token_of: Callable[[CsmsDeclaration], Token],
    statuses: tuple[str, ...],
    requirement: str,
) -> None:
    @C.case(id, title, requirements=(requirement, "E05.FR.01"))
    async def script(t: CsmsTest) -> None:
        """The back end judges the token of a TransactionEvent, which the station took from its cache."""
        token = token_of(t.declared)
        transaction = Transaction(t, token=token)
        with precondition():
            await t.booted()
            await transaction.plugged()
        answer = await transaction.event("Updated", "Authorized", token=token)
        _has_status(t, answer["idTokenInfo"], statuses, requirement)


_cached_case("TC_C_08_CSMS", "Valid token from the cache", lambda declared: declared.token, ("Accepted",), "C12.FR.03")
_cached_case(
    "TC_C_20_CSMS",
    "Unknown token from the cache",
    lambda declared: declared.unknown_token,
    ("Invalid", "Unknown"),
    "C12.FR.03",
)
_cached_case(
    "V2G-C-02-CSMS",
    "Blocked token from the cache",
    lambda declared: declared.blocked_token,
    ("Blocked", "Invalid"),
    "E05.FR.01",
)


# -- the cache


def _clear_cache(id: str, status: str) -> None:  # noqa: A002
    @C.case(id, f"Clear cache, answered {status}", also=("C11",), needs=("clear cache",))
    async def script(t: CsmsTest) -> None:
        """The back end sends ClearCache, and continues after the answer."""
        await t.ready()
        t.answer("ClearCache", {"status": status})
        await t.asked("ClearCache", "C11")
        await t.call("Heartbeat")


_clear_cache("TC_C_37_CSMS", "Accepted")
_clear_cache("TC_C_38_CSMS", "Rejected")


# -- groups


def _in_group(t: CsmsTest, info: Payload, group: str, requirement: str) -> None:
    _has_status(t, info, ("Accepted",), requirement)
    found = info.get("groupIdToken", {}).get("idToken")
    t.check(found == group, requirement, f"answers the group {found!r} instead of {group!r}")


@C.case("TC_C_39_CSMS", "Stop by another token of the group", also=("C09.FR.02",), needs=("token groups",))
async def stop_by_group(t: CsmsTest) -> None:
    """The back end answers the group of each token, and accepts that another member stops the transaction."""
    declared = t.declared
    transaction = Transaction(t)
    with precondition():
        await t.booted()
        await transaction.plugged()
    _in_group(t, await t.authorize(declared.group_token), declared.group, "C09.FR.09")
    started = await transaction.event("Updated", "Authorized", token=declared.token)
    _in_group(t, started["idTokenInfo"], declared.group, "E01.FR.12")
    await transaction.event("Updated", "ChargingStateChanged", state="Charging", context="Sample.Periodic")
    _in_group(t, await t.authorize(declared.group_token), declared.group, "C09.FR.09")
    stopped = await transaction.event("Updated", "StopAuthorized", token=declared.group_token)
    _in_group(t, stopped["idTokenInfo"], declared.group, "C09.FR.03")
    await transaction.post_session()
    await transaction.unplugged()


def _local_list_case(id: str, title: str, *, authorizes: bool) -> None:  # noqa: A002
    @C.case(
        id,
        title,
        requirements=("C09.FR.02", "C09.FR.03", "E01.FR.12"),
        profiles=("Local Authorization List Management",),
        needs=("token groups",),
    )
    async def script(t: CsmsTest) -> None:
        """The back end answers the group of tokens that the station found in its local list."""
        declared = t.declared
        transaction = Transaction(t)
        with precondition():
            await t.booted()
            await transaction.plugged()
        started = await transaction.event("Updated", "Authorized", token=declared.token)
        _in_group(t, started["idTokenInfo"], declared.group, "E01.FR.12")
        await transaction.event("Updated", "ChargingStateChanged", state="Charging", context="Sample.Periodic")
        if authorizes:
            _in_group(t, await t.authorize(declared.group_token), declared.group, "C09.FR.09")
        stopped = await transaction.event("Updated", "StopAuthorized", token=declared.group_token)
        _in_group(t, stopped["idTokenInfo"], declared.group, "C09.FR.03")
        await transaction.post_session()
        await transaction.unplugged()


_local_list_case("TC_C_40_CSMS", "Stop by another token of the group, both in the local list", authorizes=False)
_local_list_case("TC_C_43_CSMS", "Stop by a token of the group that is invalid in the local list", authorizes=True)


# -- the master pass


def _master_pass(id: str, title: str, evses: tuple[int, ...], requirement: str) -> None:  # noqa: A002
    @C.case(id, title, requirements=(requirement, "E01.FR.12"), needs=("master pass",))
    async def script(t: CsmsTest) -> None:
        """The back end answers the group of the master pass, and accepts the ends of the transactions."""
        declared = t.declared
        with precondition():
            await t.booted()
            going = {1: Transaction(t), 2: Transaction(t, evse=2, token=declared.group_token)}
            for each in going.values():
                await each.started()
        _in_group(t, await t.authorize(declared.master_token), declared.master_group, "C09.FR.09")
        for evse in evses:
            token = declared.master_token
            ended = await going[evse].event("Ended", "StopAuthorized", token=token, stopped="MasterPass")
            _in_group(t, ended["idTokenInfo"], declared.master_group, "E01.FR.12")


_master_pass("TC_C_47_CSMS", "Master pass stops all transactions by a user interface", (1, 2), "C16.FR.01")
_master_pass("TC_C_48_CSMS", "Master pass stops one transaction by a user interface", (2,), "C16.FR.01")
_master_pass("TC_C_49_CSMS", "Master pass without a user interface", (1, 2), "C16.FR.02")


@C.case("V2G-C-03-CSMS", "Master pass does not start a transaction", needs=("master pass",))
async def master_pass_starts_nothing(t: CsmsTest) -> None:
    """The back end does not accept a transaction of the master pass."""
    await t.ready()
    token = t.declared.master_token
    answer = await Transaction(t, token=token).event("Started", "Authorized", token=token)
    status = answer["idTokenInfo"]["status"]
    t.check(status != "Accepted", "C16.FR.03", "accepts a transaction of the master pass")
