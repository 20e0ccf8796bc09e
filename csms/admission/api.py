"""Admission: which stations may connect, their connection attempts and what failed, and their passwords."""

from typing import Annotated, Literal

import msgspec

from csms.accounts.rules import Permission
from csms.admission import store as rows
from csms.admission.rules import MAX_LENGTH, MAX_PASSWORDS, MIN_LENGTH
from csms.admission.work import StationAdmissions
from csms.http.call import Call
from csms.http.operations import STATION_PROBLEMS, Page, delete, get, post, put
from csms.http.parameters import OfAnyStation, Paged, StationId, pages
from csms.http.problems import ApiError, missing

SecurityProfile = Literal[1, 2, 3]


class AdmissionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A station that may connect or has tried to. `boot` is the decision; empty without one.

    `offered`: its subprotocols. `security_profile`: the last one it used; it may not use one below
    `least_profile` (A05).
    """

    station_id: str
    boot: str
    decided_ms: int | None
    decided_by: str
    first_seen_ms: int | None
    last_seen_ms: int | None
    attempts: int
    address: str
    offered: str
    security_profile: int
    least_profile: int
    has_password: bool
    password_changing: bool
    password_ms: int | None
    expired_until_ms: int | None


class ConnectionFault(msgspec.Struct, frozen=True, kw_only=True):
    """A failed connection attempt, its count, and the remedy; `station_id` is empty when it named none."""

    id: int
    station_id: str
    address: str
    kind: str
    detail: str
    hint: str
    first_ms: int
    last_ms: int
    times: int


Password = Annotated[str, msgspec.Meta(min_length=MIN_LENGTH, max_length=MAX_LENGTH)]


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to a station's boot, or `Refused`: the connection is rejected."""

    decision: Literal["Accepted", "Pending", "Rejected", "Refused"]


class NewPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password; null: a random one. `rotate`: send it to the connected station (A01)."""

    password: Password | None = None
    rotate: bool = False


class PasswordSet(msgspec.Struct, frozen=True, kw_only=True):
    """The password that was generated or set, shown only here; or the station's answer to the new one."""

    password: str | None = None
    status: str | None = None


class StationPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A station and its password; null: a random one."""

    station_id: StationId
    password: Password | None = None


class NewPasswords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Passwords of several stations. `replace`: also of those that have one; `admit`: admit all of them."""

    passwords: Annotated[tuple[StationPassword, ...], msgspec.Meta(min_length=1, max_length=MAX_PASSWORDS)]
    replace: bool = False
    admit: bool = False


class PasswordsSet(msgspec.Struct, frozen=True, kw_only=True):
    """Number of passwords set, and those generated, shown only here."""

    count: int
    made: tuple[StationPassword, ...]


class LeastProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lowest security profile that a station may use."""

    least_profile: SecurityProfile


class ExpiredFor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how many days an expired certificate is accepted; 0: no longer."""

    days: Annotated[int, msgspec.Meta(ge=0, le=90)]


class ExpiredUntil(msgspec.Struct, frozen=True, kw_only=True):
    """Until when (UTC ms) it is accepted; null: not at all."""

    expired_until_ms: int | None


class WhichAdmissions(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for stations."""

    undecided: Annotated[bool | None, msgspec.Meta(description="Only stations without a decision.")] = None


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """The decision about a station."""

    station_id: StationId
    decision: str


@get("/admissions", Permission.READ_STATIONS)
async def list_admissions(call: Call, parameters: WhichAdmissions) -> Page[AdmissionRecord]:
    """List stations that may connect or have tried to, newest first."""
    keys = ("last_seen_ms", "station_id")
    return await pages(
        call, parameters, AdmissionRecord, tuple[int | None, str], keys, rows.list_admissions, parameters.undecided
    )


@get("/admissions/faults", Permission.READ_STATIONS)
async def list_connection_faults(call: Call, parameters: OfAnyStation) -> Page[ConnectionFault]:
    """List failed connection attempts, newest first, each with its remedy."""
    await call.services[StationAdmissions].flush()
    return await pages(
        call, parameters, ConnectionFault, tuple[int, int], ("last_ms", "id"), rows.list_faults, parameters.station_id
    )


@put("/admissions/{station_id}", Permission.ADMIT_STATIONS, example={"decision": "Accepted"})
async def decide_station(call: Call, station_id: StationId, body: Decision) -> Admitted:
    """Admit or refuse a station. A connected station has to boot again, or is disconnected."""
    await call.services[StationAdmissions].decide(station_id, body.decision, call.caller.name)
    return Admitted(station_id=station_id, decision=body.decision)


@delete("/admissions/{station_id}", Permission.ADMIT_STATIONS, problems=(404,))
async def forget_station(call: Call, station_id: StationId) -> None:
    """Delete the decision about a station, its passwords and faults."""
    if not await call.services[StationAdmissions].forget(station_id):
        raise missing("station among the admissions")


@post(
    "/admissions/{station_id}/password",
    Permission.ADMIT_STATIONS,
    problems=STATION_PROBLEMS,
    confidential=True,
    example={"rotate": False},
)
async def set_station_password(call: Call, station_id: StationId, body: NewPassword) -> PasswordSet:
    """Set the password that was configured at a station, or send a connected one a new password (A01)."""
    admissions = call.services[StationAdmissions]
    if body.rotate:
        return PasswordSet(status=await admissions.rotate_password(station_id, body.password))
    return PasswordSet(password=await admissions.set_password(station_id, body.password))


@post(
    "/admissions/passwords",
    Permission.ADMIT_STATIONS,
    confidential=True,
    problems=(409,),
    example={"passwords": [{"station_id": "CS-V2G-0001"}], "replace": True},
)
async def set_station_passwords(call: Call, body: NewPasswords) -> PasswordsSet:
    """Set the passwords of several stations, all or none, and admit them if requested."""
    wanted = {each.station_id: each.password for each in body.passwords}
    if len(wanted) < len(body.passwords):
        raise ApiError(400, "a station is listed twice", "name each one once")
    made = await call.services[StationAdmissions].set_passwords(
        wanted, replace=body.replace, admit_by=call.caller.name if body.admit else None
    )
    found = tuple(StationPassword(station_id=name, password=password) for name, password in made.items())
    return PasswordsSet(count=len(wanted), made=found)


@put("/admissions/{station_id}/least-profile", Permission.ADMIT_STATIONS, example={"least_profile": 2})
async def set_least_profile(call: Call, station_id: StationId, body: LeastProfile) -> LeastProfile:
    """Set the lowest security profile of a station, once also lower than it has used (A05)."""
    await call.services[StationAdmissions].allow_profile(station_id, body.least_profile)
    return body


@put("/admissions/{station_id}/expired-certificate", Permission.ADMIT_STATIONS, example={"days": 7})
async def let_expired_in(call: Call, station_id: StationId, body: ExpiredFor) -> ExpiredUntil:
    """Admit a station whose certificate has expired: it stays Pending, and is asked to renew it (A00)."""
    return ExpiredUntil(expired_until_ms=await call.services[StationAdmissions].allow_expired(station_id, body.days))
