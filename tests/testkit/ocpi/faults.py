"""Faults of a platform, put between our back end and the lab: in its answers, or in its requests."""

import base64
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from v2g.io.http.client import HttpAnswer, request
from v2g.ocpi import wire
from v2g_testkit.ocpi.partner import LabPartner, OcpiBench

Json = dict[str, Any]


class Asked(NamedTuple):
    """A request of the lab: what a fault may change before the device has it."""

    method: str
    path: str
    body: bytes
    token: str


class Fault(NamedTuple):
    """A fault, and the beginnings of the cases that are run to find it."""

    name: str
    cases: str
    before: Callable[["Asked", "FaultyLab"], "Asked | HttpAnswer"] | None = None
    """Changes a request of the lab, or answers it."""
    after: Callable[[Asked, int, dict[str, str], Any], tuple[int, Any]] | None = None
    """Changes an answer: status, headers, envelope."""
    own: Callable[[str, str, dict[str, str], Any], Any] | None = None
    """Changes the body of a request of the device, by method and path; `DROPPED`: it is not sent."""


DROPPED = object()


class FaultyLab(LabPartner):
    """The lab at a device with a fault."""

    fault: Fault

    def __init__(self, bench: OcpiBench, tls: Any, context: Any) -> None:
        super().__init__(bench, tls, context, self._through)
        self.tokens: list[str] = []
        self._told = threading.local()

    async def _through(
        self, method: str, url: str, *, most: int, timeout_s: float, body: bytes | None, headers: Mapping[str, str],
        context: Any,
    ) -> HttpAnswer:  # fmt: skip
        token = next(iter(wire.tokens_in(headers.get("Authorization", ""))), "")
        asked = Asked(method, url.split("/ocpi", 1)[-1], body or b"", token)
        if token and token not in self.tokens:
            self.tokens.append(token)
        if self.fault.before is not None:
            changed = self.fault.before(asked, self)
            if isinstance(changed, HttpAnswer):
                return changed
            if changed.token != asked.token:
                written = base64.b64encode(changed.token.encode()).decode()
                headers = {**headers, "Authorization": f"Token {written}"}
            url, asked = url.split("/ocpi", 1)[0] + "/ocpi" + changed.path, changed
        answer = await request(
            asked.method, url, most=most, timeout_s=timeout_s, body=asked.body or None, headers=headers, context=context
        )
        if self.fault.after is None:
            return answer
        try:
            said = json.loads(answer.body)
        except ValueError:
            return answer
        kept = dict(answer.headers)
        status, said = self.fault.after(asked, answer.status, kept, said)
        return HttpAnswer(status, said if isinstance(said, bytes) else json.dumps(said).encode(), kept)

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], raw: bytes
    ) -> tuple[int, bytes, dict[str, str]] | None:
        """See LabPartner."""
        if self.fault.own is None:
            return super().answer(method, target, headers, raw)
        changed = dict(headers)
        body = json.loads(raw) if raw else None
        made = self.fault.own(method, target, changed, body)
        if made is DROPPED:
            return 200, json.dumps({"status_code": 1000, "timestamp": "2026-01-01T00:00:00Z"}).encode(), {}
        said = super().answer(method, target, changed, json.dumps(made).encode() if raw else b"")
        if said is not None and said[0] == 429 and self.fault.name == "Retry-After is ignored":
            return super().answer(method, target, {**changed, "x-request-id": "another"}, raw)
        return said


def _envelope(data: Any = None, code: int = 1000) -> HttpAnswer:
    more = {} if data is None else {"data": data}
    body = json.dumps({**more, "status_code": code, "timestamp": "2026-01-01T00:00:00Z"}).encode()
    return HttpAnswer(200, body, {})


def _data(module: str, edit: Callable[[Any], Any], method: str = "GET") -> Any:
    """Return what changes each object of a module's answers."""

    def after(asked: Asked, status: int, _headers: dict[str, str], said: Any) -> tuple[int, Any]:
        if f"/{module}" in asked.path and asked.method == method and said.get("data"):
            whole = said["data"]
            for each in whole if isinstance(whole, list) else [whole]:
                edit(each)
        return status, said

    return after


def _header(name: str, value: str | None) -> Any:
    def after(_asked: Asked, status: int, headers: dict[str, str], said: Any) -> tuple[int, Any]:
        if value is None:
            headers.pop(name, None)
        elif name in headers:
            headers[name] = value
        return status, said

    return after


def _field(name: str, value: Any) -> Any:
    def after(_asked: Asked, status: int, _headers: dict[str, str], said: Any) -> tuple[int, Any]:
        if value is None:
            said.pop(name, None)
        else:
            said[name] = value(said.get(name))
        return status, said

    return after


def _without(*names: str) -> Any:
    """Return what drops parameters of queries."""

    def before(asked: Asked, _lab: FaultyLab) -> Asked:
        path, _, query = asked.path.partition("?")
        kept = [each for each in query.split("&") if each.partition("=")[0] not in names]
        return asked._replace(path=f"{path}?{'&'.join(kept)}" if kept != [""] and kept else path)

    return before


def _granted(fits: Callable[[Asked], bool]) -> Any:
    """Return what grants requests, and does nothing with them."""
    return lambda asked, _lab: _envelope() if fits(asked) else asked


def _refused(fits: Callable[[Asked], bool]) -> Any:
    return lambda asked, _lab: _envelope(code=2001) if fits(asked) else asked


def _json(asked: Asked) -> Any:
    try:
        found = json.loads(asked.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _unknown_token(asked: Asked, lab: FaultyLab) -> Asked:
    return asked._replace(token=lab.device_token) if asked.token == "04AB12CD34EF56" else asked


def _old_token(asked: Asked, lab: FaultyLab) -> Asked:
    return asked._replace(token=lab.device_token) if asked.token in lab.tokens and lab.registered else asked


def _token_a(asked: Asked, lab: FaultyLab) -> Asked | HttpAnswer:
    return _envelope([]) if not lab.registered and "/2.2.1/" in asked.path and "cpo" in asked.path else asked


def _mends(asked: Asked, _lab: FaultyLab) -> Asked:
    """An object without a field is completed: as if it were not required."""
    body = _json(asked)
    if asked.method == "PUT" and "/tokens/" in asked.path and body and "contract_id" not in body:
        return asked._replace(body=json.dumps({**body, "contract_id": "X"}).encode())
    return asked


def _renames(asked: Asked, _lab: FaultyLab) -> Asked:
    body = _json(asked)
    if asked.method == "PUT" and "/tokens/" in asked.path and body.get("uid") == "another":
        name = asked.path.rsplit("/", 1)[-1]
        return asked._replace(body=json.dumps({**body, "uid": name}).encode())
    return asked


def _dates(asked: Asked, _lab: FaultyLab) -> Asked:
    body = _json(asked)
    if asked.method == "PATCH" and "last_updated" not in body:
        return asked._replace(body=json.dumps({**body, "last_updated": "2031-01-01T00:00:00Z"}).encode())
    return asked


def _crashes(asked: Asked, status: int, _headers: dict[str, str], said: Any) -> tuple[int, Any]:
    return (500, said) if status == 400 or (asked.body and not _json(asked)) else (status, said)


def _own(module: str, edit: Callable[[Json], Any], method: str = "") -> Any:
    """Return what changes the body of a device's request."""

    def own(sent: str, path: str, _headers: dict[str, str], body: Any) -> Any:
        if f"/{module}" in path and method in ("", sent) and isinstance(body, dict):
            return DROPPED if edit(body) is DROPPED else body
        return body

    return own


def _head(edit: Callable[[dict[str, str]], object], module: str = "") -> Any:
    def own(_method: str, path: str, headers: dict[str, str], body: Any) -> Any:
        if module in path:
            edit(headers)
        return body

    return own


def _once(edit: Callable[[Json, int], Any], module: str, method: str = "POST") -> Any:
    """Return what changes a request by how many came before."""
    count = [0]

    def own(sent: str, path: str, _headers: dict[str, str], body: Any) -> Any:
        if f"/{module}" in path and sent == method and isinstance(body, dict):
            made = edit(body, count[0])
            count[0] += 1
            return DROPPED if made is DROPPED else body
        return body

    return own


def _connector(name: str, value: Any) -> Any:
    def edit(location: Json) -> None:
        for evse in location.get("evses", ()) if isinstance(location, dict) else ():
            evse["connectors"][0][name] = value

    return _data("cpo/2.2.1/locations", edit)


def _shift(body: Json, number: int) -> None:
    body["total_cost"]["excl_vat"] = 99
    del number


def _plain(headers: dict[str, str]) -> None:
    said = headers.get("authorization", "").partition(" ")[2]
    headers["authorization"] = f"Token {base64.b64decode(said).decode()}"


def _stays(asked: Asked, status: int, _headers: dict[str, str], said: Any) -> tuple[int, Any]:
    if "MSP-EVSE" in asked.path and isinstance(said.get("data"), dict) and "evses" in said["data"]:
        said["data"]["last_updated"] = "2026-01-01T00:00:00Z"
    return status, said


def _one_period(asked: Asked, status: int, _headers: dict[str, str], said: Any) -> tuple[int, Any]:
    if "MSP-SESSION" in asked.path and isinstance(said.get("data"), dict):
        said["data"]["charging_periods"] = said["data"]["charging_periods"][-1:]
    return status, said


def _no_list(_asked: Asked, status: int, _headers: dict[str, str], said: Any) -> tuple[int, Any]:
    if isinstance(said.get("data"), list) and len(said["data"]) == 1:
        said["data"] = said["data"][0]
    return status, said


def _same_token(asked: Asked, status: int, _headers: dict[str, str], said: Any) -> tuple[int, Any]:
    if asked.path.endswith("credentials") and status == 405:
        return 200, {"status_code": 1000, "timestamp": "2026-01-01T00:00:00Z"}
    return status, said


def _accepted(asked: Asked, _lab: FaultyLab) -> Asked | HttpAnswer:
    if "/commands/" in asked.path and _json(asked).get("location_id") == "no-such-location":
        return _envelope({"result": "ACCEPTED", "timeout": 30})
    return asked


FAULTS = (
    Fault("any token is taken", "REG-WRONG", before=_unknown_token),
    Fault("token A opens modules", "REG-TOKEN", before=_token_a),
    Fault("old tokens stay good", "REG-HANDSHAKE REG-ROTATE", before=_old_token),
    Fault("registered parties may register", "REG-HANDSHAKE REG-AGAIN", after=_same_token),
    Fault("answers lose X-Request-ID", "CPO-LOCATIONS", after=_header("x-request-id", None)),
    Fault("answers have another X-Correlation-ID", "CPO-LOCATIONS", after=_header("x-correlation-id", "other")),
    Fault("lists have no Link", "CPO-LOCATIONS", after=_header("link", None)),
    Fault("X-Total-Count counts the page", "CPO-LOCATIONS", after=_header("x-total-count", "1")),
    Fault("X-Limit is missing", "CPO-LOCATIONS", after=_header("x-limit", None)),
    Fault("date_to is ignored", "CPO-LOCATIONS", before=_without("date_to")),
    Fault("dates are not read", "CPO-LOCATIONS", before=_without("date_from")),
    Fault("limit is ignored", "CPO-LOCATIONS", before=_without("limit")),
    Fault("offset is ignored", "CPO-TARIFFS", before=_without("offset", "after")),
    Fault("status_code is text", "CPO-TARIFFS", after=_field("status_code", str)),
    Fault("answers have no timestamp", "CPO-TARIFFS", after=_field("timestamp", None)),
    Fault("a list of one is not a list", "MSP-TOKENS CPO-LOCATIONS", after=_no_list),
    Fault("locations have no time zone", "CPO-LOCATIONS", after=_data(
        "locations", lambda each: each.pop("time_zone", 0))),
    Fault("a connector's standard is of 2.3.0", "CPO-LOCATIONS", after=_connector("standard", "MCS")),
    Fault("a connector's voltage is text", "CPO-LOCATIONS", after=_connector("max_voltage", "900")),
    Fault("a connector's tariff is unknown", "CPO-LOCATIONS CPO-TARIFFS", after=_connector("tariff_ids", ["none"])),
    Fault("a currency is none", "CPO-TARIFFS", after=_data("tariffs", lambda each: each.update(currency="Euro"))),
    Fault("unknown tokens are allowed", "MSP-AUTHORIZE", before=_granted(lambda asked: "FFFFFFFF/auth" in asked.path)),
    Fault("fields may be missing", "CPO-TOKEN", before=_mends),
    Fault("ids may differ", "CPO-TOKEN", before=_renames),
    Fault("PATCH needs no last_updated", "CPO-TOKEN", before=_dates),
    Fault("objects of others are taken", "CPO-TOKEN", before=_granted(lambda asked: "/XX/XXX/" in asked.path)),
    Fault("tokens can be deleted", "CPO-TOKEN", before=_granted(lambda asked: asked.method == "DELETE")),
    Fault("times need a Z", "CPO-TOKEN", before=_refused(lambda asked: b"2030-01-01T00:00:00\"" in asked.body)),
    Fault("bad JSON ends in HTTP 500", "CPO-TOKEN", after=_crashes),
    Fault("PATCH does nothing", "CPO-TOKEN", before=_granted(lambda asked: asked.method == "PATCH")),
    Fault("a PATCH replaces periods", "MSP-SESSION", after=_one_period),
    Fault("locations stay as old as they were", "MSP-EVSE", after=_stays),
    Fault("a CDR may change", "MSP-CDR", before=_granted(lambda asked: _json(asked).get("total_energy") == 99)),
    Fault("a CDR has no Location", "MSP-CDR", after=_header("location", None)),
    Fault("a CDR needs no cost", "MSP-CDR", before=_granted(
        lambda asked: asked.path.endswith("/cdrs/") and "total_cost" not in _json(asked))),
    Fault("commands at unknown places are accepted", "CPO-COMMAND-LOC", before=_accepted),
    Fault("results of commands are not sent", "CPO-UNLOCK", own=_own("result", lambda _: DROPPED)),
    Fault("results have values of their own", "CPO-UNLOCK", own=_own("result", lambda body: body.update(result="OK"))),
    Fault("a session has another token", "CPO-START", own=_own(
        "sessions", lambda body: body["cdr_token"].update(uid="04FFFF"))),
    Fault("a command's session has another auth_method", "CPO-START", own=_own(
        "sessions", lambda body: body.update(auth_method="WHITELIST"))),
    Fault("authorization_reference is lost", "CPO-START", own=_own(
        "sessions", lambda body: body.pop("authorization_reference", 0))),
    Fault("sessions do not end", "CPO-STOP", own=_own("sessions", lambda body: body.update(status="ACTIVE"))),
    Fault("a CDR has no total_energy", "CPO-CDR", own=_own("cdrs", lambda body: body.pop("total_energy", 0))),
    Fault("a CDR's price is wrong", "CPO-CDR", own=_once(_shift, "cdrs")),
    Fault("a CDR has a dimension of sessions", "CPO-CDR", own=_own("cdrs", lambda body: body["charging_periods"][0][
        "dimensions"].append({"type": "ENERGY_IMPORT", "volume": 1}))),
    Fault("a CDR whose answer was lost does not come again", "CPO-CDR", own=_once(
        lambda _, number: DROPPED if number else None, "cdrs")),
    Fault("a CDR comes again with another id", "CPO-CDR", own=_once(
        lambda body, number: body.update(id=f"{body['id'][:20]}-{number}"), "cdrs")),
    Fault("Retry-After is ignored", "CPO-BUSY", own=lambda _method, _path, _headers, body: body),
    Fault("requests have no X-Request-ID", "REG-HANDSHAKE", own=_head(lambda each: each.pop("x-request-id", 0))),
    Fault("requests have the same X-Request-ID", "REG-HANDSHAKE", own=_head(
        lambda each: each.update({"x-request-id": "1"}))),
    Fault("tokens are not in base64", "REG-HANDSHAKE", own=_head(_plain)),
    Fault("versions are asked by another token", "REG-HANDSHAKE", own=_head(
        lambda each: each.update(authorization="Token eHg="), "versions")),
    Fault("pushes are not routed", "REG-HANDSHAKE CPO-TOKEN", own=_head(
        lambda each: each.pop("ocpi-from-party-id", 0))),
    Fault("pushed locations have another id than their URL", "REG-HANDSHAKE CPO-UNLOCK", own=_own(
        "locations", lambda body: body.update(id="other"), "PUT")),
    Fault("a session's energy falls", "CPO-STOP", own=_once(
        lambda body, number: body.update(kwh=5 - number), "sessions", "PUT")),
    Fault("last_updated goes back", "CPO-STOP", own=_once(lambda body, number: body.update(
        last_updated=f"2026-01-0{max(1, 9 - number)}T00:00:00Z"), "sessions", "PUT")),
    Fault("answers are not routed back", "HUB-", after=_header("ocpi-to-party-id", "XYZ")),
    Fault("pushes of parties that are not there are taken", "HUB-", before=_granted(
        lambda asked: "/FR/BHD/HUB-SENDER" in asked.path)),
)  # fmt: skip
