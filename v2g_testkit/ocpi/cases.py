"""What the lab does to a platform, right and wrong, and what is required of it then: a row for each case.

A case that does wrong (`wrong`) requires that the platform says so, changes nothing, and serves the next request. The
clauses are the pages of the specification.
"""

import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec

from v2g.errors import TimeoutExpired
from v2g.io.runtime.clock import Clock
from v2g.ocpi import wire
from v2g.typed_json import Fields
from v2g_testkit.cases.case import Described, Result, Verdict
from v2g_testkit.ocpi.forms import faults
from v2g_testkit.ocpi.partner import COUNTRY, PARTY, Exchange, LabPartner, Plan, moment
from v2g_testkit.ocpp.case import CaseTest, Failed, Inconclusive, NotApplicable, NotExercised, precondition
from v2g_testkit.ocpp.connection import verdict_of

Script = Callable[["OcpiTest"], Awaitable[None]]
Pull = Callable[[], Awaitable[bool]]

OWN: Final = f"{COUNTRY}/{PARTY}"
UID: Final = "04AB12CD34EF56"
_CLIENT: Final = ("FR", "BHD")


class OcpiCase(Described, frozen=True, kw_only=True):
    """A case; its group is REG (registration), CPO, MSP or HUB: as what the platform is tested, or PULL. `wrong`: the
    lab does wrong on purpose."""

    script: Script
    wrong: bool = False


class OcpiTest(CaseTest):
    """What a script gets: the lab, and what it knows of the device so far."""

    def __init__(self, lab: LabPartner, case: str, pull: Pull | None, known: Fields) -> None:
        super().__init__(Clock(), itertools.count(1), contextlib.AsyncExitStack())
        self.lab, self.case, self.pull, self.known = lab, case, pull, known

    @property
    def id(self) -> str:
        """An id for an object of this case."""
        return self.case[:30]

    async def ready(self) -> None:
        """Come to be registered."""
        if not self.lab.registered:
            with precondition():
                await _handshake(self)

    def endpoint(self, module: str, role: str) -> str:
        """Return where a module of the device is."""
        found = self.lab.endpoints.get((module, role))
        if found is None:
            raise NotApplicable(f"the device has no module {module} as {role}")
        return found

    def at(self, module: str, role: str, *path: str, query: str = "") -> str:
        """Return a URL below a module of the device."""
        base = self.endpoint(module, role)
        where = "/".join((base.rstrip("/"), *path)) if path else base
        return f"{where}?{query}" if query else where

    def granted(self, made: Exchange, clause: str, kind: str = "") -> Any:
        """Require that a request was granted, and that its data has a form; return the data."""
        self.check(made.ok, clause, made.said)
        if kind:
            items = made.data if isinstance(made.data, list) and kind == "Version" else [made.data]
            wrong = [each for item in items for each in faults(kind, item, self.lab.bench.version)]
            self.check(not wrong, clause, "; ".join(wrong[:3]))
        return made.data

    def refused(self, made: Exchange, clause: str, *, http: tuple[int, ...] = (), codes: tuple[int, ...] = ()) -> None:
        """Require that a request was refused, in one of these ways if there are any, and that the device lives."""
        self.check(0 < made.status < 500, clause, made.said)
        self.check(not made.ok, clause, f"{made.said}, and had to be refused")
        if http or codes:
            wanted = " or ".join([f"HTTP {each}" for each in http] + [f"status_code {each}" for each in codes])
            self.check(made.status in http or made.code in codes, clause, f"{made.said} instead of {wanted}")

    async def until(self, holds: Callable[[], object], what: str, clause: str, *, times: float = 1) -> Any:
        """Require that something holds in time."""
        try:
            found = await self.lab.until(holds, what, self.lab.bench.seconds * times)
        except TimeoutExpired as late:
            raise Failed(str(late), clause) from None
        self.judged += 1
        return found

    def form(self, body: Fields) -> Any:
        """Return an object, written as 2.3.0 has it, in the version of the run."""
        return wire.outer(body, self.lab.bench.version)

    async def listed(self, module: str, role: str = "SENDER", query: str = "") -> list[Fields]:
        """Return the objects of a list, over all its pages."""
        dated = "date_from=2020-01-01T00:00:00Z" if module == "sessions" else ""
        url = self.at(module, role, query="&".join(filter(None, (dated, query))))
        found = list[Fields]()
        for _ in range(1000):
            made = await self.lab.ask("GET", url)
            data = self.granted(made, "transport 4.1.4.1")
            self.check(isinstance(data, list), "transport 4.1.4.1", "the data of a list is not a list")
            found += data
            url = wire.link_of(made.answer_headers.get("link", "")) or ""
            if not url:
                return found
        raise Failed("the list has no end in 1000 pages", "transport 4.1.4.1")


# -- objects of the lab, as 2.3.0 writes them


def _token(name: str = UID, **changes: object) -> Fields:
    return {
        "country_code": COUNTRY, "party_id": PARTY, "uid": name, "type": "RFID", "contract_id": "NLLABC00000001",
        "issuer": "The lab", "valid": True, "whitelist": "ALLOWED", "last_updated": moment(), **changes,
    }  # fmt: skip


def _connector(**changes: object) -> Fields:
    return {
        "id": "1", "standard": "IEC_62196_T2_COMBO", "format": "CABLE", "power_type": "DC", "max_voltage": 900,
        "max_amperage": 200, "tariff_ids": ["LAB-T"], "last_updated": moment(), **changes,
    }  # fmt: skip


def _evse(uid: str = "LAB-E1", **changes: object) -> Fields:
    return {
        "uid": uid, "evse_id": "NL*LAB*E1", "status": "AVAILABLE", "connectors": [_connector()],
        "last_updated": moment(), **changes,
    }  # fmt: skip


_PLACE: Final = {
    "address": "Laboratory Lane 1", "city": "Utrecht", "postal_code": "3511", "country": "NLD",
    "coordinates": {"latitude": "52.09083", "longitude": "5.12222"},
}  # fmt: skip


def _location(name: str, **changes: object) -> Fields:
    return {
        "country_code": COUNTRY, "party_id": PARTY, "id": name, "publish": True, **_PLACE, "evses": [_evse()],
        "time_zone": "Europe/Amsterdam", "last_updated": moment(), **changes,
    }  # fmt: skip


def _tariff(name: str, **changes: object) -> Fields:
    component = {"type": "ENERGY", "price": Decimal("0.5"), "vat": 21, "step_size": 1}
    return {
        "country_code": COUNTRY, "party_id": PARTY, "id": name, "currency": "EUR", "tax_included": "NO",
        "elements": [{"price_components": [component]}], "last_updated": moment(), **changes,
    }  # fmt: skip


def _whose(token: Fields) -> Fields:
    return {name: token[name] for name in ("country_code", "party_id", "uid", "type", "contract_id")}


def _period(seconds: float, kwh: int) -> Fields:
    dimensions = [{"type": "ENERGY", "volume": kwh}, {"type": "TIME", "volume": 1}]
    return {"start_date_time": moment(seconds), "dimensions": dimensions, "tariff_id": "LAB-T"}


_COST: Final = {"before_taxes": 5, "taxes": [{"name": "VAT", "amount": Decimal("1.05")}]}


def _session(name: str, token: Fields, **changes: object) -> Fields:
    return {
        "country_code": COUNTRY, "party_id": PARTY, "id": name, "start_date_time": moment(-3600), "kwh": 10,
        "cdr_token": _whose(token), "auth_method": "WHITELIST", "location_id": "LAB-L", "evse_uid": "LAB-E1",
        "connector_id": "1", "currency": "EUR", "charging_periods": [_period(-3600, 10)], "status": "ACTIVE",
        "last_updated": moment(), **changes,
    }  # fmt: skip


def _cdr(name: str, token: Fields, **changes: object) -> Fields:
    place = {
        "id": "LAB-L", **_PLACE, "evse_uid": "LAB-E1", "evse_id": "NL*LAB*E1", "connector_id": "1",
        "connector_standard": "IEC_62196_T2_COMBO", "connector_format": "CABLE", "connector_power_type": "DC",
    }  # fmt: skip
    return {
        "country_code": COUNTRY, "party_id": PARTY, "id": name, "start_date_time": moment(-3600),
        "end_date_time": moment(), "session_id": f"S-{name}"[:36], "cdr_token": _whose(token),
        "auth_method": "WHITELIST", "cdr_location": place, "currency": "EUR", "tariffs": [_tariff("LAB-T")],
        "charging_periods": [_period(-3600, 10)], "total_cost": _COST, "total_energy": 10, "total_time": 1,
        "last_updated": moment(), **changes,
    }  # fmt: skip


_OBJECTS: Final[dict[str, Callable[..., Fields]]] = {"tokens": _token, "locations": _location, "tariffs": _tariff}


# -- registration


async def _versions(test: OcpiTest) -> None:
    lab = test.lab
    made = await lab.ask("GET", lab.bench.versions_url)
    offered = test.granted(made, "versions 7.1", "Version")
    url = next((each["url"] for each in offered if each["version"] == lab.bench.version), None)
    test.check(url is not None, "versions 7.1", f"version {lab.bench.version} is not offered")
    details = test.granted(await lab.ask("GET", str(url)), "versions 7.2", "VersionDetails")
    test.check(details["version"] == lab.bench.version, "versions 7.2", f"the details are of {details['version']}")
    lab.endpoints = {(each["identifier"], each["role"]): each["url"] for each in details["endpoints"]}
    lab.endpoints["credentials", ""] = next(
        (url for (name, _), url in lab.endpoints.items() if name == "credentials"), ""
    )
    test.check(bool(lab.endpoints["credentials", ""]), "versions 7.2", "the module credentials is missing")


async def _contact(test: OcpiTest) -> str:
    """Return where the device's credentials are, while the lab is not registered."""
    if test.lab.registered:
        raise Inconclusive("the lab is registered already")
    if not test.lab.endpoints:
        with precondition():
            await _versions(test)
    return test.endpoint("credentials", "")


async def _where(test: OcpiTest, method: str) -> str:
    """Return where credentials are sent: by POST while the lab is not registered, by PUT when it is."""
    if method == "POST":
        return await _contact(test)
    await test.ready()
    return test.endpoint("credentials", "")


async def _handshake(test: OcpiTest, method: str = "POST") -> None:
    lab, url = test.lab, await _where(test, method)
    before, old, count = list(lab.valid), lab.device_token, len(lab.exchanges)
    ours = lab.new_token()
    made = await lab.ask(method, url, lab.credentials(ours))
    if not made.ok:
        lab.valid = before
    theirs = test.granted(made, "credentials 8.2", "Credentials")
    called = [each for each in lab.exchanges[count:] if not each.sent and each.module == "versions"]
    asked = any(each.status == 200 for each in called)
    test.check(asked, "credentials 8.1", "it does not ask for the lab's versions by token B")
    test.check(theirs["token"] not in (old, ours), "credentials 8.1", "it gives no new token")
    lab.device_token, lab.registered = theirs["token"], True
    lab.parties = tuple((each["country_code"], each["party_id"]) for each in theirs["roles"])
    test.granted(await lab.ask("GET", url), "credentials 8.3", "Credentials")
    test.refused(await lab.ask("GET", url, token=old, planned=True), "credentials 8.1", http=(401,))


async def _refused_credentials(test: OcpiTest, change: str, codes: tuple[int, ...] = (), method: str = "POST") -> None:
    """Send credentials with a fault of the lab; the token before still works."""
    lab, url = test.lab, await _where(test, method)
    before, offered = list(lab.valid), lab.versions
    body = lab.credentials(lab.new_token())
    plan = Plan(module="versions", wrong="500", times=2)
    match change:
        case "unreachable":
            lab.plans.append(plan)
        case "version":
            lab.versions = ("2.1.1",)
        case "endpoints":
            lab.modules_offered = False
        case "party":
            roles = await lab.ask("GET", url)
            taken = roles.data["roles"] if roles.ok else [{"role": "CPO", "country_code": "NL", "party_id": "TOOLONG"}]
            body["roles"] = taken
        case _:
            body.pop(change)
    try:
        made = await lab.ask(method, url, body, planned=True)
    finally:
        lab.versions, lab.modules_offered, plan.times, lab.valid = offered, True, 0, before
    test.refused(made, "credentials 8.1", codes=codes)
    test.granted(await lab.ask("GET", lab.bench.versions_url), "credentials 8.1")


async def _wrong_token(test: OcpiTest, token: str) -> None:
    made = await test.lab.ask("GET", test.lab.bench.versions_url, token=token, planned=True)
    test.refused(made, "transport 4.1.1", http=(401,))


async def _token_a_at_module(test: OcpiTest) -> None:
    await _contact(test)
    for (module, role), url in sorted(test.lab.endpoints.items()):
        if module in ("locations", "tariffs", "tokens", "cdrs") and role == "SENDER":
            test.refused(await test.lab.ask("GET", url, planned=True), "transport 4.1.1", http=(401,))


async def _method_of_credentials(test: OcpiTest, method: str) -> None:
    if method == "POST":
        await test.ready()
        url = test.endpoint("credentials", "")
    else:
        url = await _contact(test)
    body = None if method == "DELETE" else test.lab.credentials("not-to-be-used-token")
    test.refused(await test.lab.ask(method, url, body, planned=True), "credentials 8.2", http=(405,))


async def _plain_token(test: OcpiTest) -> None:
    await test.ready()
    made = await test.lab.ask("GET", test.lab.bench.versions_url, bare=not test.lab.bench.bare_token, planned=True)
    test.check(made.ok, "transport 4.1.1", made.said)


async def _unknown_path(test: OcpiTest) -> None:
    await test.ready()
    url = test.endpoint("credentials", "").rstrip("/").rsplit("/", 1)[0] + "/no-such-module"
    test.refused(await test.lab.ask("GET", url, planned=True), "status codes 5", http=(404, 405))


async def _unregister(test: OcpiTest) -> None:
    await test.ready()
    lab, url = test.lab, test.endpoint("credentials", "")
    test.granted(await lab.ask("DELETE", url), "credentials 8.2")
    lab.registered = False
    test.refused(await lab.ask("GET", url, planned=True), "credentials 8.2", http=(401,))


# -- lists


async def _list(test: OcpiTest, module: str, kind: str) -> None:
    """Crawl a list with one object a page, and compare it with itself, with its counts, and with single objects."""
    whole = await test.listed(module)
    wrong = [each for item in whole for each in faults(kind, item, test.lab.bench.version)]
    test.check(not wrong, f"{module}: the object", "; ".join(wrong[:3]))
    dated = "&date_from=2020-01-01T00:00:00Z" if module == "sessions" else ""
    made = await test.lab.ask("GET", test.at(module, "SENDER", query=f"limit=1{dated}"))
    page = test.granted(made, "transport 4.1.4.1")
    total, limit = (made.answer_headers.get(name, "") for name in ("x-total-count", "x-limit"))
    test.check(total == str(len(whole)), "transport 4.1.4.1", f"X-Total-Count is {total!r} of {len(whole)} objects")
    test.check(limit.isdecimal() and int(limit) > 0, "transport 4.1.4.1", f"X-Limit is {limit!r}")
    test.check(len(page) == min(1, len(whole)), "transport 4.1.4.1", f"{len(page)} objects on a page of one")
    if 1 < len(whole) <= 200:
        crawled = await test.listed(module, query="limit=1")
        test.check(crawled == whole, "transport 4.1.4.1", f"{len(crawled)} of {len(whole)} objects by pages of one")
        test.check(
            [await _at_offset(test, module, dated, 1)] == whole[1:2], "transport 4.1.4.1", "offset=1 is not the second"
        )
    last = max((each["last_updated"] for each in whole), default=None)
    if last is not None:
        found = await test.listed(module, query=f"date_from={last}")
        test.check(whole[-1] in found, "transport 4.1.4.1", "date_from leaves out an object of that time")
        newer = [each for each in found if wire.read_time(each["last_updated"]) < wire.read_time(last)]
        test.check(not newer, "transport 4.1.4.1", "date_from lets older objects through")
        until = await test.listed(module, query=f"date_to={last}")
        test.check(whole[-1] not in until, "transport 4.1.4.1", "date_to is not exclusive")
    if module in ("locations",) and whole:
        await _single(test, whole[0])


async def _at_offset(test: OcpiTest, module: str, dated: str, offset: int) -> Any:
    url = test.at(module, "SENDER", query=f"limit=1&offset={offset}{dated}")
    return next(iter(test.granted(await test.lab.ask("GET", url), "transport 4.1.4.1")), None)


async def _single(test: OcpiTest, location: Fields) -> None:
    clause = "locations 8.2.1"
    found = test.granted(await test.lab.ask("GET", test.at("locations", "SENDER", location["id"])), clause)
    test.check(found == location, clause, "the location is not the one of the list")
    for evse in location.get("evses", [])[:1]:
        path = location["id"], evse["uid"]
        test.check(
            test.granted(await test.lab.ask("GET", test.at("locations", "SENDER", *path)), clause) == evse, clause,
            "the EVSE is not the one of its location",
        )  # fmt: skip
        connector = evse["connectors"][0]
        said = await test.lab.ask("GET", test.at("locations", "SENDER", *path, connector["id"]))
        test.check(test.granted(said, clause) == connector, clause, "the connector is not the one of its EVSE")


async def _wrong_list(test: OcpiTest, module: str, query: str, required: str) -> None:
    """Ask for a list by a query that is wrong, or beyond its end."""
    made = await test.lab.ask("GET", test.at(module, "SENDER", query=query), planned=True)
    clause = "transport 4.1.4.1"
    if required == "refused":
        test.refused(made, clause)
        return
    if required == "either" and not made.ok:
        test.check(0 < made.status < 500, clause, made.said)
        return
    data = test.granted(made, clause)
    if required == "empty":
        test.check(data == [], clause, f"{len(data)} objects beyond the end")
        return
    limit = int(made.answer_headers.get("x-limit", "0") or 0)
    test.check(len(data) <= limit, clause, f"{len(data)} objects, X-Limit is {limit}")


async def _wrong_get(test: OcpiTest, module: str, role: str, path: tuple[str, ...]) -> None:
    made = await test.lab.ask("GET", test.at(module, role, *path), planned=True)
    test.refused(made, f"{module}: GET", http=(404,), codes=(2003,))


# -- objects that the lab owns


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """A wrong push: `change` replaces fields (None: leaves them out); `path` below the module, {id} is the object's.

    `known`: a right object is there before. `tolerated`: it must be taken; `either`: taken or refused.
    """

    module: str
    method: str = "PUT"
    path: str = f"{OWN}/{{id}}"
    change: Mapping[str, object] = {}
    only: bool = False
    """Whether `change` is the whole body."""
    raw: bytes | None = None
    known: bool = True
    http: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()
    tolerated: bool = False
    either: bool = False
    closes: bool = False
    """Whether the connection may end without an answer."""
    why: str = ""
    """Why a device that does otherwise does not fail."""


async def _push(test: OcpiTest, sending: Sending) -> None:
    """Send something wrong; what is stored stays as it was, unless it must be tolerated."""
    role = "RECEIVER"
    own = test.at(sending.module, role, *OWN.split("/"), test.id)
    body = test.form(_OBJECTS[sending.module](test.id, last_updated=moment(-60)))
    if sending.known:
        with precondition():
            test.granted(await test.lab.ask("PUT", own, body), f"{sending.module}: PUT")
    before = await test.lab.ask("GET", own)
    sent = {} if sending.only else {**body, "last_updated": moment()}
    sent |= sending.change
    sent = {name: value for name, value in sent.items() if value is not None}
    url = test.at(sending.module, role, *sending.path.format(id=test.id).split("/"))
    made = await test.lab.ask(sending.method, url, sent, raw=sending.raw, planned=True)
    clause = f"{sending.module}: {sending.method}"
    if sending.tolerated and (test.lab.bench.version == "2.3.0" or "lab_field" not in sending.change):
        test.granted(made, clause)
        return
    if sending.either or sending.tolerated:
        test.check(0 < made.status < 500, clause, made.said)
        return
    if made.status or not sending.closes:
        test.refused(made, clause, http=sending.http, codes=sending.codes)
    after = await test.lab.ask("GET", own)
    test.check(
        (after.status, after.data) == (before.status, before.data), clause, "it is refused, and has changed something"
    )


async def _own(test: OcpiTest, module: str) -> None:
    """Push an object, read it, change it, read it again."""
    body = test.form(_OBJECTS[module](test.id, last_updated=moment(-60)))
    url = test.at(module, "RECEIVER", *OWN.split("/"), test.id)
    test.granted(await test.lab.ask("PUT", url, body), f"{module}: PUT")
    _same(test, test.granted(await test.lab.ask("GET", url), f"{module}: GET"), body, module)
    if module == "tariffs":
        test.granted(await test.lab.ask("DELETE", url), "tariffs: DELETE")
        test.refused(await test.lab.ask("GET", url, planned=True), "tariffs: DELETE")
        return
    field, value = {"tokens": ("valid", False), "locations": ("publish", False)}[module]
    test.granted(await test.lab.ask("PATCH", url, {field: value, "last_updated": moment()}), f"{module}: PATCH")
    changed = test.granted(await test.lab.ask("GET", url), f"{module}: GET")
    _same(test, changed, {**body, field: value, "last_updated": changed["last_updated"]}, module)


def _same(test: OcpiTest, found: Any, sent: Fields, module: str) -> None:
    """Require that what is read is what was sent."""
    test.check(isinstance(found, dict), f"{module}: GET", "the object is not returned")
    differ = sorted(name for name, value in sent.items() if not _equal(found.get(name), value))
    test.check(not differ, f"{module}: GET", f"not as it was sent: {', '.join(differ)}")


def _equal(found: Any, sent: object) -> bool:
    if isinstance(sent, dict) and isinstance(found, dict):
        return all(_equal(found.get(name), value) for name, value in sent.items())
    if isinstance(sent, list) and isinstance(found, list):
        return len(sent) == len(found) and all(itertools.starmap(_equal, zip(found, sent, strict=True)))
    if isinstance(sent, int | Decimal) and not isinstance(sent, bool):
        return (
            found is not None
            and not isinstance(found, str | dict | list)
            and abs(Decimal(found) - sent) < Decimal("0.000001")
        )
    if isinstance(sent, str) and isinstance(found, str) and sent[:2] == found[:2] == "20":
        return wire.read_time(found) == wire.read_time(sent)
    return bool(found == sent)


async def _evses(test: OcpiTest) -> None:
    """Change the status of an EVSE, and add another one."""
    url, clause = test.at("locations", "RECEIVER", *OWN.split("/"), test.id), "locations 8.2.2"
    test.granted(await test.lab.ask("PUT", url, test.form(_location(test.id, last_updated=moment(-60)))), clause)
    now = moment()
    change = {"status": "CHARGING", "last_updated": now}
    test.granted(await test.lab.ask("PATCH", f"{url}/LAB-E1", change), clause)
    test.granted(await test.lab.ask("PUT", f"{url}/LAB-E2", test.form(_evse("LAB-E2", last_updated=now))), clause)
    found = test.granted(await test.lab.ask("GET", url), clause, "Location")
    states = {each["uid"]: each["status"] for each in found["evses"]}
    test.check(states == {"LAB-E1": "CHARGING", "LAB-E2": "AVAILABLE"}, clause, f"the EVSEs are {states}")
    test.check(_equal(found["last_updated"], now), clause, "last_updated of the location stays behind its EVSE's")
    evse = test.granted(await test.lab.ask("GET", f"{url}/LAB-E1"), clause, "Evse")
    test.check(evse["status"] == "CHARGING", clause, f"the EVSE is {evse['status']}")


# -- the device as operator


async def _free_evse(test: OcpiTest) -> tuple[Fields, Fields]:
    pairs = [(each, evse) for each in await test.listed("locations") for evse in each.get("evses", ())]
    if not pairs:
        raise NotExercised("the device has no EVSE")
    return min(pairs, key=lambda pair: pair[1]["status"] != "AVAILABLE")


async def _command(test: OcpiTest, name: str, *, planned: bool = False, **fields: object) -> tuple[Exchange, str]:
    """Send a command; return the exchange and where its result goes."""
    number = f"{test.id}-{test.next_id()}"
    body = {"response_url": f"{test.lab.url}/ocpi/result/{number}", **fields}
    made = await test.lab.ask("POST", test.at("commands", "RECEIVER", name), body, planned=planned)
    return made, number


async def _result(test: OcpiTest, made: Exchange, number: str, kinds: tuple[str, str], *, times: float = 3) -> Fields:
    """Require a synchronous answer, and if it is ACCEPTED an asynchronous result; return that."""
    clause = f"{test.lab.module_of(made.url)}: response_url"
    said = test.granted(made, clause, kinds[0])
    if said["result"] != "ACCEPTED":
        raise NotExercised(f"it is {said['result']}")
    result = await test.until(
        lambda: [each for each in test.lab.received("result") if each.path == (number,) and each.status == 200],
        "the result of an accepted request", clause, times=times,
    )  # fmt: skip
    wrong = faults(kinds[1], result[0].body, test.lab.bench.version)
    test.check(not wrong, clause, "; ".join(wrong))
    return dict(result[0].body)


_COMMAND: Final = ("CommandResponse", "CommandResult")
_PROFILE: Final = ("ProfileResponse", "ProfileResult")


async def _running(test: OcpiTest) -> Fields:
    """Return a session that the lab has started, as the device has pushed it."""
    if "session" in test.known:
        return dict(test.known["session"])
    location, evse = await _free_evse(test)
    token = _token(whitelist="ALWAYS")
    test.lab.own["tokens"] = [token]
    test.granted(
        await test.lab.ask("PUT", test.at("tokens", "RECEIVER", *OWN.split("/"), UID), test.form(token)), "tokens: PUT"
    )
    known = len(test.lab.exchanges)
    made, number = await _command(
        test, "START_SESSION", token=test.form(token), location_id=location["id"], evse_uid=evse["uid"],
        connector_id=evse["connectors"][0]["id"], authorization_reference="lab-start",
    )  # fmt: skip
    result = await _result(test, made, number, _COMMAND)
    if result["result"] != "ACCEPTED":
        raise NotExercised(f"the result of START_SESSION is {result['result']}")
    with contextlib.suppress(TimeoutExpired):
        pushed = await test.lab.until(lambda: test.lab.received("sessions", "PUT", known), "a session")
        test.known["session"] = pushed[0].body
        return dict(pushed[0].body)
    raise NotExercised("START_SESSION was accepted, and no session is pushed: is a vehicle plugged in?")


async def _session_started(test: OcpiTest) -> None:
    session = await _running(test)
    clause = "sessions 9.3.1"
    wrong = faults("Session", session, test.lab.bench.version)
    test.check(not wrong, clause, "; ".join(wrong[:3]))
    test.check(session["cdr_token"]["uid"].upper() == UID, clause, f"it is of token {session['cdr_token']['uid']}")
    test.check(session["auth_method"] == "COMMAND", clause, f"auth_method is {session['auth_method']}")
    said = session.get("authorization_reference")
    test.check(said == "lab-start", clause, f"authorization_reference is {said}, and the command had another one")
    test.check(session["status"] in ("ACTIVE", "PENDING"), clause, f"its first status is {session['status']}")


async def _preferences(test: OcpiTest) -> None:
    session = await _running(test)
    url = test.at("sessions", "SENDER", session["id"], "charging_preferences")
    made = await test.lab.ask("PUT", url, {"profile_type": "REGULAR"})
    said = test.granted(made, "sessions 9.2.2")
    test.check(not faults("Preference", said, test.lab.bench.version), "sessions 9.2.2", f"the answer is {said!r:.60}")


async def _profile(test: OcpiTest) -> None:
    session = await _running(test)
    url = test.at("chargingprofiles", "RECEIVER", session["id"])
    number = f"{test.id}-{test.next_id()}"
    profile = {"charging_rate_unit": "W", "charging_profile_period": [{"start_period": 0, "limit": 7000}]}
    body = {"charging_profile": profile, "response_url": f"{test.lab.url}/ocpi/result/{number}"}
    await _result(test, await test.lab.ask("PUT", url, body), number, _PROFILE)


async def _stopped(test: OcpiTest) -> Fields:
    """Stop the lab's session; return it as it is at last. The lab is busy meanwhile, and loses answers."""
    if "ended" in test.known:
        return dict(test.known["ended"])
    session = await _running(test)
    lab = test.lab
    known, key = (
        len(lab.exchanges),
        ("sessions", f"{session['country_code']}/{session['party_id']}/{session['id']}".lower()),
    )
    test.known["plans"] = plans = {
        "sessions": Plan(module="sessions", wrong="429"), "cdrs": Plan(module="cdrs", wrong="lost", method="POST"),
        "result": Plan(module="result", wrong="500"),
    }  # fmt: skip
    lab.plans += plans.values()
    test.known["from"] = known
    made, number = await _command(test, "STOP_SESSION", session_id=session["id"])
    result = await _result(test, made, number, _COMMAND, times=4)
    test.check(result["result"] == "ACCEPTED", "commands: STOP_SESSION", f"the result is {result['result']}")
    await test.until(
        lambda: lab.kept.get(key, {}).get("status") == "COMPLETED", "COMPLETED of a session that was stopped",
        "sessions 9.1.1", times=4,
    )  # fmt: skip
    test.known["ended"] = lab.kept[key]
    return dict(lab.kept[key])


async def _session_ended(test: OcpiTest) -> None:
    ended = await _stopped(test)
    clause = "sessions 9.3.1"
    wrong = faults("Session", ended, test.lab.bench.version)
    test.check(not wrong, clause, "; ".join(wrong[:3]))
    test.check(bool(ended.get("end_date_time")), clause, "a COMPLETED session has no end_date_time")


async def _cdr_came(test: OcpiTest) -> None:
    """The lab has taken the CDR and lost its answer: it comes again, as it was."""
    ended = await _stopped(test)
    lab, clause = test.lab, "cdrs 10.1.2"

    def sent() -> list[Exchange]:
        return [
            each for each in lab.received("cdrs", "POST", test.known["from"])
            if isinstance(each.body, dict) and each.body.get("session_id") == ended["id"]
        ]  # fmt: skip

    first = (await test.until(sent, "the CDR of a session that has ended", clause, times=4))[0]
    wrong = faults("Cdr", first.body, lab.bench.version)
    test.check(not wrong, "cdrs 10.3.1", "; ".join(wrong[:3]))
    again = await test.until(lambda: sent()[1:], "the CDR again, whose answer was lost", clause, times=4)
    test.check(again[0].body == first.body, clause, "the CDR that comes again is another one")
    test.known["cdr"] = first.body


async def _waits(test: OcpiTest) -> None:
    await _stopped(test)
    lab, plan = test.lab, test.known["plans"]["sessions"]
    if not plan.met:
        raise NotExercised("no session was pushed meanwhile")
    busy = plan.met[0]
    later = await test.until(
        lambda: [each for each in lab.received("sessions") if each.at_s > busy.at_s], "the session again",
        "status codes 5", times=4,
    )  # fmt: skip
    waited = later[0].at_s - busy.at_s
    test.check(waited > 1.8, "RFC 6585 4", f"it comes again after {waited:.1f} s, and Retry-After is 2")


async def _result_again(test: OcpiTest) -> None:
    await _stopped(test)
    if not test.known["plans"]["result"].met:
        raise NotExercised("no result was sent meanwhile")
    test.judged += 1  # _stopped has waited for the one after the failure


async def _simple_command(test: OcpiTest, name: str) -> None:
    location, evse = await _free_evse(test)
    where = {"location_id": location["id"], "evse_uid": evse["uid"]}
    if name == "UNLOCK_CONNECTOR":
        await _result(test, *await _command(test, name, **where, connector_id=evse["connectors"][0]["id"]), _COMMAND)
        return
    reservation = f"{test.id}-R"[:36]
    more = {"token": test.form(_token()), "expiry_date": moment(600), "reservation_id": reservation}
    reserved = await _result(test, *await _command(test, "RESERVE_NOW", **where, **more), _COMMAND)
    if reserved["result"] != "ACCEPTED":
        raise NotExercised(f"the result of RESERVE_NOW is {reserved['result']}")
    result = await _result(test, *await _command(test, "CANCEL_RESERVATION", reservation_id=reservation), _COMMAND)
    test.check(result["result"] == "ACCEPTED", "commands: CANCEL_RESERVATION", f"the result is {result['result']}")


async def _wrong_command(test: OcpiTest, name: str, change: str) -> None:
    """Send a command that must not be carried out; an answer of ACCEPTED must be followed by another result."""
    location, evse = await _free_evse(test)
    fields: Fields = {
        "token": test.form(_token()), "location_id": location["id"], "evse_uid": evse["uid"],
        "session_id": "no-such-session", "reservation_id": "no-such-reservation", "connector_id": "1",
    }  # fmt: skip
    match change:
        case "location":
            fields["location_id"] = "no-such-location"
        case "party":
            fields["token"] = test.form(_token(party_id="XXX"))
        case "invalid":
            fields["token"] = test.form(_token("04DEAD", valid=False))
        case "token":
            del fields["token"]
        case "host":
            fields["response_url"] = "http://169.254.169.254/latest"
    made, number = await _command(test, name, planned=True, **fields)
    clause = f"commands: {name}"
    test.check(0 < made.status < 500, clause, made.said)
    if not made.ok:
        return
    said = test.granted(made, clause, "CommandResponse")
    if said["result"] == "ACCEPTED":
        test.check(change not in ("token", "host"), clause, "it is ACCEPTED")
        result = await _result(test, made, number, _COMMAND)
        test.check(result["result"] != "ACCEPTED", clause, "it is carried out")


# -- the device as provider


async def _device_token(test: OcpiTest) -> Fields:
    if not (found := [each for each in await test.listed("tokens") if each.get("valid")]):
        raise NotExercised("the device has no valid token")
    return dict(found[0])


async def _authorized(test: OcpiTest) -> None:
    token = await _device_token(test)
    url = test.at("tokens", "SENDER", token["uid"], "authorize", query=f"type={token['type']}")
    place = {"location_id": "LAB-L", "evse_uids": ["LAB-E1"]}
    said = test.granted(await test.lab.ask("POST", url, place), "tokens 12.2.2", "AuthorizationInfo")
    test.check(said["token"] == token, "tokens 12.2.2", "the token is not the one of the list")


async def _unknown_token(test: OcpiTest) -> None:
    url = test.at("tokens", "SENDER", "FFFFFFFFFFFFFF", "authorize")
    made = await test.lab.ask("POST", url, {"location_id": "LAB-L"}, planned=True)
    test.refused(made, "tokens 12.2.2", codes=(2004,))
    test.check(made.status == 404, "tokens 12.2.2", f"{made.said} instead of HTTP 404")
    test.check(made.data is None, "tokens 12.2.2", "the answer has data")


async def _foreign_session(test: OcpiTest) -> None:
    """Push a session, and add a period to it."""
    token = await _device_token(test)
    url, clause = test.at("sessions", "RECEIVER", *OWN.split("/"), test.id), "sessions 9.2.3"
    begun = test.form(_session(test.id, token, last_updated=moment(-60)))
    test.granted(await test.lab.ask("PUT", url, begun), clause)
    change = {"kwh": 12, "charging_periods": [_period(-10, 2)], "last_updated": moment()}
    test.granted(await test.lab.ask("PATCH", url, change), clause)
    found = test.granted(await test.lab.ask("GET", url), clause, "Session")
    volumes = [each["dimensions"][0]["volume"] for each in found["charging_periods"]]
    test.check([float(each) for each in volumes] == [10, 2], clause, f"a PATCH adds periods, and there are {volumes}")
    test.check(_equal(found["kwh"], 12), clause, f"kwh is {found['kwh']}")


async def _foreign_cdr(test: OcpiTest, wrong: str = "") -> None:
    """Send a CDR; then again, with another content, or with a fault."""
    token, clause = await _device_token(test), "cdrs 10.2.2"
    url = test.endpoint("cdrs", "RECEIVER")
    name = f"{test.id}-{test.lab.valid[-1][:6]}"[:36]
    body = test.form(_cdr(name, token))
    if wrong in ("total_cost", "charging_periods", "party_id"):
        changed = {**body, "party_id": "XXX"} if wrong == "party_id" else {**body, wrong: None}
        sent = {key: value for key, value in changed.items() if value is not None}
        test.refused(await test.lab.ask("POST", url, sent, planned=True), clause)
        return
    made = await test.lab.ask("POST", url, body)
    test.granted(made, clause)
    where = made.answer_headers.get("location", "")
    test.check(where.startswith("http"), clause, f"the answer's Location is {where!r}")
    _same(test, test.granted(await test.lab.ask("GET", where), clause, "Cdr"), body, "cdrs")
    match wrong:
        case "again":
            made = await test.lab.ask("POST", url, body, planned=True)
            test.check(0 < made.status < 500, clause, made.said)
        case "changed":
            changed = {**body, "total_energy": 99, "total_cost": test.form({"x": _COST | {"before_taxes": 99}})["x"]}
            test.refused(await test.lab.ask("POST", url, changed, planned=True), "cdrs 10.1.1")
        case "deleted":
            test.refused(await test.lab.ask("DELETE", where, planned=True), clause)
        case "put":
            test.refused(await test.lab.ask("PUT", where, body, planned=True), clause)
    if wrong:
        _same(test, test.granted(await test.lab.ask("GET", where), clause), body, "cdrs")


# -- pulls


async def _pulled(test: OcpiTest, wrong: str = "") -> None:
    """Let the device pull from a list whose pages have one object; what is wrong in it keeps nothing else back."""
    module = "tokens" if ("tokens", "RECEIVER") in test.lab.endpoints else "locations"
    test.endpoint(module, "RECEIVER")
    if test.pull is None:
        raise NotExercised("nothing makes the device pull (--pull)")
    make, lab = _OBJECTS[module], test.lab
    names = [f"{test.id}-{number}"[:30] for number in range(3)]
    objects = [test.form(make(name)) for name in names]
    if wrong == "object":
        objects[1] = {name: value for name, value in objects[1].items() if name not in ("valid", "time_zone")}
    if wrong == "twice":
        objects.insert(1, objects[0])
    known, lab.own[module] = len(lab.exchanges), objects
    lab.circles = wrong == "circle"
    try:
        if not await test.pull():
            raise Inconclusive("the command of --pull failed")
    finally:
        lab.circles = False
    asked = lab.received(module, "GET", known)
    if not asked:
        raise NotExercised("the device has not pulled")
    test.check(len(asked) < 20, "transport 4.1.4.1", f"it has asked {len(asked)} times for a list of three")
    if wrong == "circle":
        return
    wanted = [name for number, name in enumerate(names) if wrong != "object" or number != 1]
    for name in wanted:
        made = await lab.ask("GET", test.at(module, "RECEIVER", *OWN.split("/"), name))
        test.check(made.ok, "transport 4.1.4.1", f"{name} of the list is not known: {made.said}")


# -- the lab as a hub


async def _as_hub(test: OcpiTest) -> str:
    """Be a hub, with a provider behind it; return the module that it may use."""
    lab = test.lab
    if "HUB" not in lab.roles:
        lab.roles = ("CPO", "EMSP", "HUB")
        with precondition():
            await _handshake(test, "PUT")
    url = test.at("hubclientinfo", "RECEIVER", *_CLIENT)
    info = {
        "country_code": _CLIENT[0], "party_id": _CLIENT[1], "role": "EMSP", "status": "CONNECTED",
        "last_updated": moment(),
    }  # fmt: skip
    test.granted(await lab.ask("PUT", url, info), "hub client info 14.2.2")
    _same(test, test.granted(await lab.ask("GET", url), "hub client info 14.2.2", "ClientInfo"), info, "hubclientinfo")
    return test.at("tokens", "RECEIVER", *_CLIENT, test.id)


async def _client_known(test: OcpiTest) -> None:
    await _as_hub(test)


async def _routed(test: OcpiTest, sender: tuple[str, str] = _CLIENT, to: tuple[str, str] | None = None) -> None:
    """Forward a request of a party to the device; wrong are parties that are not behind the hub, or not the device."""
    url = await _as_hub(test)
    lab = test.lab
    right = sender == _CLIENT and to is None
    party = test.form(_token(test.id, country_code=_CLIENT[0], party_id=_CLIENT[1]))
    headers = lab.routing(to or lab.parties[0], sender)
    made = await lab.ask("PUT", url, party, planned=not right, more=headers)
    clause = "transport 4.2.6"
    if not right:
        test.refused(made, clause)
        return
    test.granted(made, clause)
    back = {
        name.replace("-from-", "-x-").replace("-to-", "-from-").replace("-x-", "-to-").lower(): value.lower()
        for name, value in headers.items()
    }
    said = {name: made.answer_headers.get(name, "").lower() for name in back}
    test.check(said == back, clause, f"the answer's routing is {said}")


# -- the table


def _case(
    name: str, title: str, required: str, clause: str, script: Script, *, wrong: bool = False, why: str = "",
    quick: bool = True,
) -> OcpiCase:  # fmt: skip
    return OcpiCase(
        id=name, title=title, required=required, requirements=(clause,), script=script, wrong=wrong, open=why,
        quick=quick,
    )  # fmt: skip


def _wrong(
    name: str, title: str, required: str, clause: str, script: Script, *, why: str = "", quick: bool = True
) -> OcpiCase:
    return _case(name, title, required, clause, script, wrong=True, why=why, quick=quick)


def _pushes(side: str, module: str) -> Iterator[OcpiCase]:
    """Yield what is done wrong with the lab's objects at a receiver."""
    one, field = module[:-1].upper(), {"tokens": "contract_id", "locations": "time_zone", "tariffs": "elements"}[module]
    refused, taken = "It is refused, and nothing changes.", "It is taken."
    rows: list[tuple[str, str, str, Sending]] = [
        ("FIELD", f"without {field}", refused, Sending(module=module, change={field: None}, known=False)),
        ("TYPE", f"{field} is of another type", refused, Sending(module=module, change={field: {"a": [1]}})),
        ("ID", "with another id than the URL's", refused, Sending(
            module=module, change={"uid" if module == "tokens" else "id": "another"}, codes=(2001,),
            why="the specification advises it")),
        ("PARTY", "of another party", refused, Sending(
            module=module, path="XX/XXX/{id}", http=(404,), codes=(2001,), why="the specification allows it")),
        ("JSON", "that is not JSON", refused, Sending(module=module, raw=b'{"id":')),
        ("DEEP", "of 100,000 nested lists", refused, Sending(module=module, raw=b"[" * 100_000)),
        ("LARGE", "of 20 MB", refused, Sending(
            module=module, raw=b'{"a":"' + b"x" * 20_000_000 + b'"}', closes=True)),
        ("LIST", "within a list", "It is taken or refused.", Sending(module=module, raw=b"[{}]", either=True)),
        ("MORE", "with unknown fields", taken, Sending(module=module, change={"lab_field": {"a": 1}}, tolerated=True)),
        ("ZONE", "with a time without Z", taken, Sending(
            module=module, change={"last_updated": "2030-01-01T00:00:00"}, tolerated=True)),
        ("FRACTION", "with fractions of a second", taken, Sending(
            module=module, change={"last_updated": "2030-01-01T00:00:00.123Z"}, tolerated=True)),
        ("TIME", "with a time that is none", refused, Sending(module=module, change={"last_updated": "yesterday"})),
    ]  # fmt: skip
    if module != "tariffs":
        rows += [
            ("PATCH", "by PATCH without last_updated", refused, Sending(
                module=module, method="PATCH", only=True, change={"valid": False, "publish": False}, codes=(2001,))),
            ("UNKNOWN", "by PATCH of an unknown object", refused, Sending(
                module=module, method="PATCH", only=True, known=False, http=(404,), codes=(2003, 2004),
                change={"valid": False, "publish": False, "last_updated": "2030-01-01T00:00:00Z"})),
            ("DELETE", "by DELETE", refused, Sending(module=module, method="DELETE", only=True, http=(404, 405))),
        ]  # fmt: skip
    if module == "locations":
        evses = [_evse(connectors=[_connector(max_voltage="900")])]
        text = Sending(module=module, either=True, change={"evses": evses})
        rows.append(("TEXT", "with numbers as text", "It is taken or refused.", text))
    for word, title, required, sending in rows:
        script, quick = partial(_push, sending=sending), word in ("FIELD", "ID", "PATCH")
        yield _wrong(f"{side}-{one}-{word}", f"Send a {one.lower()} {title}.", required, module, script,
                     why=sending.why, quick=quick)  # fmt: skip


def _lists() -> Iterator[OcpiCase]:
    """Yield what is asked, and asked wrongly, of the lists of senders."""
    page = "transport 4.1.4.1"
    for module, kind in (("locations", "Location"), ("tariffs", "Tariff"), ("sessions", "Session"), ("cdrs", "Cdr"),
                         ("tokens", "Token")):  # fmt: skip
        side = "MSP" if module == "tokens" else "CPO"
        name = f"{side}-{module.upper()}"
        yield _case(f"{name}-LIST", f"Crawl the {module}, by pages of one, and by date.",
                    "Objects have their form; pages and counts agree.", page,
                    partial(_list, module=module, kind=kind))  # fmt: skip
        if module in ("sessions", "cdrs"):
            continue
        for word, title, query, required in (
            ("LIMIT", "for a million at once", "limit=1000000", "limited"),
            ("END", "from beyond their end", "offset=99999999", "empty"),
            ("DATE", "from a date that is none", "date_from=yesterday", "refused"),
            ("NEGATIVE", "by a negative limit", "limit=-1", "either"),
        ):
            expected = {"limited": "At most X-Limit objects.", "empty": "An empty list.", "refused": "It is refused.",
                        "either": "It is refused, or answered."}  # fmt: skip
            yield _wrong(f"{name}-{word}", f"Ask for {module} {title}.", expected[required], page,
                         partial(_wrong_list, module=module, query=query, required=required))  # fmt: skip


def _registering() -> Iterator[OcpiCase]:
    at, page = "credentials 8", "transport 4.1.1"
    yield _case("REG-VERSIONS", "Ask for versions and their details.", "The version has credentials and modules.",
                "versions 7", _versions)  # fmt: skip
    yield _wrong("REG-NO-TOKEN", "Ask without a token.", "HTTP 401.", page, partial(_wrong_token, token=""))
    unknown = partial(_wrong_token, token=UID)
    yield _wrong("REG-WRONG-TOKEN", "Ask by an unknown token.", "HTTP 401.", page, unknown)
    yield _wrong("REG-TOKEN-A", "Ask modules by the token of the first contact.", "HTTP 401.", page, _token_a_at_module)
    for word, method, title in (("PUT", "PUT", "Rotate tokens"), ("DELETE", "DELETE", "Unregister")):
        yield _wrong(f"REG-{word}-EARLY", f"{title} before the registration.", "HTTP 405.", at,
                     partial(_method_of_credentials, method=method))  # fmt: skip
    for word, title, change, codes in (
        ("UNREACHABLE", "while the lab's versions fail", "unreachable", (3001,)),
        ("VERSION", "with 2.1.1 only", "version", (3002,)),
        ("ENDPOINTS", "without the lab's module credentials", "endpoints", (3003,)),
        ("ROLES", "without roles", "roles", ()),
        ("URL", "without a URL", "url", ()),
        ("PARTY", "as the device's own party", "party", ()),
    ):
        required = f"Code {codes[0]}." if codes else "It is refused."
        why = "the specification does not say what follows" if change == "party" else ""
        yield _wrong(f"REG-{word}", f"Register {title}.", required, at,
                     partial(_refused_credentials, change=change, codes=codes), why=why)  # fmt: skip
    yield _case("REG-HANDSHAKE", "Register.", "It calls back by token B, gives C, and A is dead.", at, _handshake)
    yield _wrong("REG-AGAIN", "Register once more.", "HTTP 405.", at, partial(_method_of_credentials, method="POST"))
    yield _case("REG-ROTATE", "Rotate tokens.", "New ones work, those before do not.", at,
                partial(_handshake, method="PUT"))  # fmt: skip
    yield _wrong("REG-ROTATE-FAILS", "Rotate while the lab's versions fail.", "Code 3001; those before still work.",
                 at, partial(_refused_credentials, change="unreachable", codes=(3001,), method="PUT"))  # fmt: skip
    yield _wrong("REG-PLAIN", "Write the token without base64, or with it.", "It is understood.", page, _plain_token,
                 why="partners differ, and the specification names one form")  # fmt: skip
    yield _wrong("REG-PATH", "Ask for a module that does not exist.", "HTTP 404.", "status codes 5", _unknown_path)


def _operator() -> Iterator[OcpiCase]:
    at = "commands 13"
    yield _wrong("CPO-LOCATION-UNKNOWN", "Ask for an unknown location.", "HTTP 404.", "locations 8.2.1",
                 partial(_wrong_get, module="locations", role="SENDER", path=("no-such-location",)))  # fmt: skip
    yield _wrong("CPO-SESSIONS-DATE", "Ask for sessions without date_from.", "It is refused.", "sessions 9.2.1",
                 partial(_wrong_list, module="sessions", query="", required="refused"),
                 why="it is required, and the specification does not say what follows")  # fmt: skip
    yield _case("CPO-TOKEN", "Push a token, read it, change it.", "It is as it was sent.", "tokens 12.2.1",
                partial(_own, module="tokens"))  # fmt: skip
    yield from _pushes("CPO", "tokens")
    for word, name, change, required in (
        ("LOCATION", "START_SESSION", "location", "It is refused."),
        ("PARTY", "START_SESSION", "party", "It is refused."),
        ("INVALID", "START_SESSION", "invalid", "It is refused."),
        ("FIELD", "START_SESSION", "token", "It is refused."),
        ("SESSION", "STOP_SESSION", "", "It is refused, or fails."),
        ("RESERVATION", "CANCEL_RESERVATION", "", "It is refused, or fails."),
        ("NAME", "NO_SUCH_COMMAND", "", "It is refused."),
    ):
        about = {"location": "at an unknown location", "party": "with a token of another party",
                 "token": "without a token", "invalid": "with a token that is not valid",
                 }.get(change, "of something unknown")  # fmt: skip
        yield _wrong(f"CPO-COMMAND-{word}", f"Send {name} {about}.", required, at,
                     partial(_wrong_command, name=name, change=change),
                     why="the provider answers for its drivers" if change in ("party", "invalid") else "")  # fmt: skip
    yield _wrong("CPO-COMMAND-HOST", "Want the result at another host.", "It is refused.", at,
                 partial(_wrong_command, name="START_SESSION", change="host"),
                 why="the specification has no rule, but it may be within the device's own network")  # fmt: skip
    for word, name in (("UNLOCK", "UNLOCK_CONNECTOR"), ("RESERVE", "RESERVE_NOW")):
        yield _case(f"CPO-{word}", f"Send {name}.", "What is accepted has a result.", at,
                    partial(_simple_command, name=name))  # fmt: skip
    yield _case("CPO-START", "Start a session at an EVSE.", "The session is pushed, with the command's token and "
                "reference.", "sessions 9.1.1", _session_started)  # fmt: skip
    yield _case("CPO-PREFERENCES", "Send a driver's preferences.", "It answers by one of the values.",
                "sessions 9.2.2", _preferences)  # fmt: skip
    yield _case("CPO-PROFILE", "Set a charging profile.", "What is accepted has a result.", "charging profiles 14",
                _profile)  # fmt: skip
    yield _case("CPO-STOP", "Stop the session.", "It is COMPLETED, with its end.", "sessions 9.1.1", _session_ended)
    yield _wrong("CPO-CDR", "Take the session's CDR, and lose the answer.", "It comes, and once more as it was.",
                 "cdrs 10.1.2", _cdr_came)  # fmt: skip
    yield _wrong("CPO-BUSY", "Answer a session with 429 and Retry-After.", "It comes again, not sooner.", "RFC 6585 4",
                 _waits, why="OCPI does not name it")  # fmt: skip
    yield _wrong("CPO-RESULT", "Answer a command's result with HTTP 500.", "It comes again.", at, _result_again)


def _provider() -> Iterator[OcpiCase]:
    at = "cdrs 10.2.2"
    yield _case("MSP-AUTHORIZE", "Ask for a valid token in real time.", "An AuthorizationInfo with that token.",
                "tokens 12.2.2", _authorized)  # fmt: skip
    yield _wrong("MSP-AUTHORIZE-UNKNOWN", "Ask for an unknown token.", "HTTP 404, code 2004, no data.", "tokens 12.2.2",
                 _unknown_token)  # fmt: skip
    for module in ("locations", "tariffs"):
        yield _case(f"MSP-{module[:-1].upper()}", f"Push a {module[:-1]}, read it, change it.",
                    "It is as it was sent.", module, partial(_own, module=module))  # fmt: skip
        yield from _pushes("MSP", module)
    yield _case("MSP-EVSE", "Change the status of an EVSE, add another one.", "Its location shows it.",
                "locations 8.2.2", _evses)  # fmt: skip
    yield _case("MSP-SESSION", "Push a session, and a period by PATCH.", "The period is added.", "sessions 9.2.3",
                _foreign_session)  # fmt: skip
    yield _case("MSP-CDR", "Send a CDR.", "Its Location shows it.", at, _foreign_cdr)
    for word, title, required, wrong in (
        ("AGAIN", "Send a CDR twice.", "It is there once.", "again"),
        ("CHANGED", "Send another CDR of the same id.", "It is refused.", "changed"),
        ("PUT", "Replace a CDR by PUT.", "It is refused.", "put"),
        ("DELETE", "Delete a CDR.", "It is refused.", "deleted"),
        ("COST", "Send a CDR without its cost.", "It is refused.", "total_cost"),
        ("PERIODS", "Send a CDR without periods.", "It is refused.", "charging_periods"),
        ("PARTY", "Send a CDR of another party.", "It is refused.", "party_id"),
    ):
        why = "the specification allows it" if wrong == "party_id" else ""
        yield _wrong(f"MSP-CDR-{word}", title, required, at, partial(_foreign_cdr, wrong=wrong), why=why)


def _others() -> Iterator[OcpiCase]:
    page, hub = "transport 4.1.4.1", "transport 4.2.6"
    yield _case("PULL-PAGES", "Be pulled from, by pages of one.", "All objects are known then.", page, _pulled)
    for word, title, required, wrong in (
        ("OBJECT", "with an object that is wrong", "The others are known then.", "object"),
        ("TWICE", "while the list moves, so that one comes twice", "All objects are known then.", "twice"),
        ("CIRCLE", "by links that lead in a circle", "It ends.", "circle"),
    ):
        yield _wrong(f"PULL-{word}", f"Be pulled from {title}.", required, page, partial(_pulled, wrong=wrong))
    yield _case("HUB-CLIENT", "Be a hub, and tell of a party behind it.", "It is known then.", "hub client info 14",
                _client_known)  # fmt: skip
    yield _case("HUB-ROUTE", "Forward a push of that party.", "It is taken, and the answer routed back.", hub, _routed)
    yield _wrong("HUB-SENDER", "Forward a push of a party that is not behind the hub.", "It is refused.", hub,
                 partial(_routed, sender=("FR", "XXX")), why="a hub may speak for others")  # fmt: skip
    yield _wrong("HUB-RECEIVER", "Forward a push for another party than the device.", "It is refused.", hub,
                 partial(_routed, to=("FR", "YYY")), why="the specification has a code for hubs only")  # fmt: skip
    yield _case("REG-END", "Unregister.", "The token is dead.", "credentials 8", _unregister)


CASES: Final = (*_registering(), *_lists(), *_operator(), *_provider(), *_others())
"""In the order of a run."""


async def run_case(lab: LabPartner, case: OcpiCase, known: dict[str, object], pull: Pull | None = None) -> Result:
    """Run a case; `known` is what the cases of a run find out for each other."""
    test = OcpiTest(lab, case.id, pull, known)
    lab.case = case.id

    async def script() -> int:
        if case.group != "REG":
            await test.ready()
        await case.script(test)
        return test.judged

    found = await verdict_of(case.id, script(), ())
    lab.case = ""
    if case.open and found.verdict is Verdict.FAIL:
        return msgspec.structs.replace(found, verdict=Verdict.OPEN)
    return found
