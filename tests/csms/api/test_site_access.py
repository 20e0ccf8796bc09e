"""How an operation is limited to sites, by what it declares: whom it is asked by, about what, and what is shown."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from csms.accounts.rules import Permission, Principal, Role, Sites
from csms.http.call import Call
from csms.http.operations import Operation, Page, Reply, delete, get, post, put
from csms.http.parameters import Paged, page_of
from csms.http.problems import ApiError
from csms.http.site_access import carry_out, is_seen, may_ask, refusal, rule_of
from csms.sites.rules import Site
from tests.together import together

SITES = Sites(frozenset({"north"}), frozenset({"CS-NORTH"}))
LIMITED = Principal("ada", Role.ADMIN, sites=SITES)
UNLIMITED = Principal("bob", Role.ADMIN)
VIEWER = Principal("eve", Role.VIEWER, sites=SITES)


class Item(msgspec.Struct, frozen=True):
    station_id: str | None
    amount: int = 0


class Plain(msgspec.Struct, frozen=True):
    amount: int = 0


class Optional(msgspec.Struct, frozen=True, kw_only=True):
    number: int = 1
    station: str | None = None


class Both(msgspec.Struct, frozen=True, kw_only=True):
    station_id: str
    station: str | None = None


class OfSite(msgspec.Struct, frozen=True, kw_only=True):
    site_id: str


class Filtered(msgspec.Struct, frozen=True, kw_only=True):
    station_id: str | None = None


MINE, OTHERS, NOBODYS = Item("CS-NORTH", 1), Item("CS-SOUTH", 2), Item(None, 3)


def answering(found: Any, kind: Any, parameters: Any = None, *, declare: Any = get, **more: Any) -> Operation:
    """Return an operation that answers so, and is declared to answer a `kind`."""

    async def handler(call: Call) -> Any:
        return found

    async def with_parameters(call: Call, parameters: Any) -> Any:
        return found

    made = with_parameters if parameters is not None else handler
    if parameters is not None:
        made.__annotations__["parameters"] = parameters
    permission = more.pop("permission", Permission.READ_STATIONS)
    return cast(Operation, declare("/x", permission, answer=kind, **more)(made))


def asked(operation: Operation, parameters: Any = None, principal: Principal | None = LIMITED) -> Any:
    call = msgspec.structs.replace(_CALL, principal=principal)
    return asyncio.run(carry_out(operation, call, parameters, lambda: None))


_CALL = Call(
    backend=cast(Any, None), principal=None, operation="x", peer="", path="", headers={},
    audit=cast(Any, None), identify=cast(Any, None),
)  # fmt: skip


@together(
    ("operation", "rule"),
    [
        (answering(None, Plain), "refused"),
        (answering(None, Plain, for_sites=True), "for_sites"),
        (answering(None, Plain, permission=Permission.PUBLIC), "for_sites"),
        (answering(None, Plain, permission=Permission.READ_SELF), "for_sites"),
        (answering(None, Item), "items"),
        (answering(None, Page[Item]), "items"),
        (answering(None, Page[Plain]), "refused"),
        (answering(None, tuple[Site, ...]), "items"),
        (answering(None, Item, declare=post), "refused"),
        (answering(None, Plain, Both), "station"),
        (answering(None, Plain, Both, declare=delete), "station"),
        (answering(None, Item, Optional), "items"),
        (answering(None, Plain, Optional), "optional_station"),
        (answering(None, Item, Optional, declare=put), "optional_station"),
        (answering(None, Plain, OfSite), "site"),
        (answering(None, Plain, OfSite, declare=delete), "refused"),
        (answering(None, Plain, OfSite, declare=post), "site"),
    ],
)
def test_an_operation_is_limited_by_what_it_declares_and_refused_by_default(operation: Operation, rule: str) -> None:
    assert rule_of(operation) == rule
    assert may_ask(UNLIMITED, operation)
    assert may_ask(LIMITED, operation) == (rule != "refused")


def test_a_body_beside_a_site_is_refused() -> None:
    async def handler(call: Call, parameters: OfSite, body: Plain) -> Plain:
        return body

    assert rule_of(put("/sites/{site_id}", Permission.WRITE_ENERGY)(handler)) == "refused"


def test_a_body_is_read_once_the_parameters_are_checked() -> None:
    async def handler(call: Call, parameters: Both, body: Plain) -> Plain:
        return body

    operation, read = cast(Operation, post("/x", Permission.READ_STATIONS)(handler)), list[Plain]()

    def body() -> Plain:
        read.append(Plain(7))
        return read[-1]

    call = msgspec.structs.replace(_CALL, principal=LIMITED)
    with pytest.raises(ApiError):
        asyncio.run(carry_out(operation, call, Both(station_id="CS-SOUTH"), body))
    assert read == []
    assert asyncio.run(carry_out(operation, call, Both(station_id="CS-NORTH"), body)) == Plain(7)


def test_nobody_asks_without_permission() -> None:
    operation = answering(None, Item, permission=Permission.MANAGE_ACCESS)
    assert not may_ask(None, operation)
    assert not may_ask(VIEWER, operation)
    assert refusal(VIEWER, operation, "no").code == "permission"
    assert refusal(LIMITED, operation, "no").code == "site"
    assert {refusal(each, operation, "no").status for each in (VIEWER, LIMITED)} == {403}


@pytest.mark.parametrize("wrap", [tuple, list, lambda items: Page(tuple(items), "more")])
def test_of_lists_only_what_is_of_the_sites_is_shown(wrap: Any) -> None:
    operation = answering(wrap([MINE, OTHERS, NOBODYS]), Page[Item])
    found = asked(operation)
    assert tuple(getattr(found, "items", found)) == (MINE,)
    assert getattr(found, "next", "more") == "more"
    assert len(getattr(whole := asked(operation, principal=UNLIMITED), "items", whole)) == 3


@together(
    ("answer", "shown"),
    [
        (MINE, True),
        (OTHERS, False),
        (NOBODYS, False),
        (Plain(), False),
        ({"station_id": "CS-NORTH"}, True),
        ({"station_id": "CS-SOUTH"}, False),
        ({"amount": 1}, False),
        (b'{"station_id":"CS-NORTH"}', True),
        (b'{"station_id":"CS-SOUTH"}', False),
        (b'{"amount":1}', False),
        (b"[]", False),
        (b"\xff", False),
        (Reply(content=MINE, status=201, headers={"A": "b"}), True),
        (Reply(content=OTHERS), False),
        (Reply(content=b'{"station_id":"CS-SOUTH"}'), False),
        (Site(id="north", nodes=()), True),
        (Site(id="south", nodes=()), False),
    ],
)
def test_what_does_not_say_that_it_is_of_the_sites_is_refused(answer: Any, *, shown: bool) -> None:
    operation = answering(answer, Item)
    assert asked(operation, principal=UNLIMITED) == answer
    assert asked(operation, principal=None) == answer
    if shown:
        assert asked(operation) == answer
        return
    with pytest.raises(ApiError, match=r"to this station\Z") as refused:
        asked(operation)
    assert (refused.value.status, refused.value.code) == (403, "site")


@together(
    ("parameters", "why"),
    [
        (Both(station_id="CS-NORTH"), ""),
        (Both(station_id="CS-SOUTH"), r"to this station\Z"),
        (Both(station_id="CS-NORTH", station="CS-SOUTH"), r"to this station\Z"),
        (Both(station_id="CS-NORTH", station="CS-NORTH"), ""),
        (Optional(), "limited to sites"),
        (Optional(station=""), "limited to sites"),
        (Optional(station="CS-NORTH"), ""),
        (Optional(station="CS-SOUTH"), r"to this station\Z"),
        (OfSite(site_id="north"), ""),
        (OfSite(site_id="south"), r"to this site\Z"),
        (Filtered(), ""),
        (Filtered(station_id="CS-SOUTH"), r"to this station\Z"),
    ],
)
def test_a_request_that_names_another_place_does_not_reach_the_handler(parameters: Any, why: str) -> None:
    more = {"for_sites": True} if isinstance(parameters, Filtered) else {}
    operation = answering(b"whatever", Plain, type(parameters), **more)
    assert asked(operation, parameters, UNLIMITED) == b"whatever"
    if not why:
        assert asked(operation, parameters) == b"whatever"
        return
    with pytest.raises(ApiError, match=why) as refused:
        asked(operation, parameters)
    assert (refused.value.status, refused.value.code) == (403, "site")


def test_a_refused_operation_is_not_carried_out_even_if_it_is_asked() -> None:
    with pytest.raises(ApiError, match=r"your role does not extend to this operation\Z"):
        asked(answering(Plain(), Plain))


def test_what_a_route_for_sites_answers_is_its_handlers_matter() -> None:
    assert asked(answering((OTHERS,), Page[Item], for_sites=True)) == (OTHERS,)


def test_beside_a_named_station_things_without_one_are_shown_and_others_are_not() -> None:
    assert is_seen(SITES, Plain(), "station")
    assert not is_seen(SITES, Plain())
    assert not is_seen(SITES, OTHERS, "station")
    assert asked(answering((MINE, OTHERS, Plain()), Page[Item], Both), Both(station_id="CS-NORTH")) == (MINE, Plain())


def test_pages_have_the_whole_of_a_list_also_in_the_order_of_a_language() -> None:
    """As a database has it whose cluster was made with the language of its machine."""
    found, cursor = list[str](), None
    for _ in range(3):
        page = page_of(_CALL, ["a", "B", "c"], Paged(limit=1, cursor=cursor), str)
        found, cursor = [*found, *page.items], page.next
    assert (found, cursor) == (["B", "a", "c"], None)


def test_lists_are_cut_before_pages_are() -> None:
    call = msgspec.structs.replace(_CALL, principal=LIMITED)
    assert call.own([MINE, OTHERS, NOBODYS, Plain(), {"station_id": "CS-SOUTH"}]) == [MINE, Plain()]
    assert msgspec.structs.replace(_CALL, principal=UNLIMITED).own([OTHERS]) == [OTHERS]
    assert _CALL.own([OTHERS]) == [OTHERS]
