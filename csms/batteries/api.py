"""What people say of batteries: references of capacities (R124), calibration of twins (R169), resets of runaways."""

import asyncio
from base64 import b64encode
from functools import partial
from typing import Annotated, Final

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.alerts import store as alerts
from csms.alerts.rules import SubjectKind
from csms.batteries import rules
from csms.batteries import store as rows
from csms.books.operator_key import BooksKeys
from csms.http.call import Call
from csms.http.operations import ALONE, Page, Reply, get, post
from csms.http.problems import ApiError
from v2g.battery.report import BatteryClaims, HealthReport, ReportedEvent, refuse_claims, sign_report
from v2g.battery.report_page import report_page
from v2g.battery.runaway import KIND
from v2g.energy.settlement.canonical import sha256_hex
from v2g.energy.settlement.operator import public_der
from v2g.units import DAY_MS, LAST_MS, UtcMs

_NAME = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Note = Annotated[str, msgspec.Meta(max_length=200)]
_MOST = 1000
_STALE_MS: Final = 31 * DAY_MS
_SPAN_MS: Final = 91 * DAY_MS


class WhichHealth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times from `from_ms` (default 91 days before the end) to `to_ms` (default now), evenly spread."""

    from_ms: UtcMs | None = None
    to_ms: UtcMs | None = None
    points: Annotated[int, msgspec.Meta(ge=2, le=31, description="Number of times.")] = 14


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A measured capacity, such as that of a full discharge at about C/3 (IEC 62660-1, 7.2), at `at_ms` (default now).

    `deviation`: relative standard deviation of the measurement.
    """

    capacity_ah: Annotated[float, msgspec.Meta(gt=0, le=100_000)]
    at_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)] | None = None
    deviation: Annotated[float, msgspec.Meta(gt=0, le=0.1)] = 0.002
    note: _Note = ""


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The caller says that the battery is sound now."""

    note: _Note = ""


class Reset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person has seen to the battery: what was found and done."""

    reason: Annotated[str, msgspec.Meta(min_length=3, max_length=200)]


@post("/vehicles/{ev}/battery/references", Permission.WRITE_BATTERIES, status=201, problems=(409,))
async def add_battery_reference(call: Call, ev: _NAME, body: Reference) -> rules.BatteryCheck:
    """Compare a battery's estimated capacity with a measured one, and correct it by that.

    An error beyond `battery.health.apart` is an alert (`soh_reference`), which the next reference within it ends.
    """
    at_ms = call.now_ms if body.at_ms is None else min(body.at_ms, call.now_ms)
    asked = rules.BatteryCheck(
        ev=ev,
        kind="reference",
        at_ms=at_ms,
        values={"measured_ah": body.capacity_ah},
        by=call.caller.name[:128],
        note=body.note,
    )
    settings = call.services.config.battery
    return await _check(
        call, asked, lambda battery, check: rules.referenced(settings, battery, check, deviation=body.deviation)
    )


@post("/vehicles/{ev}/battery/calibrations", Permission.WRITE_BATTERIES, status=201, problems=(409,))
async def calibrate_battery(call: Call, ev: _NAME, body: Calibration) -> rules.BatteryCheck:
    """Take the present residuals of a battery's twin as offsets of its sensors: from now on they count as 0."""
    asked = rules.BatteryCheck(
        ev=ev, kind="calibration", at_ms=call.now_ms, values={}, by=call.caller.name[:128], note=body.note
    )
    return await _check(call, asked, rules.calibrated)


@post("/vehicles/{ev}/battery/resets", Permission.WRITE_BATTERIES, status=201, problems=(409,))
async def reset_thermal_runaway(call: Call, ev: _NAME, body: Reset) -> rules.BatteryCheck:
    """End a thermal runaway, which never ends by itself. The gateway's own is reset there (`v2g emergency reset`)."""
    asked = rules.BatteryCheck(
        ev=ev, kind="reset", at_ms=call.now_ms, values={}, by=call.caller.name[:128], note=body.reason
    )
    about: tuple[SubjectKind, str, str] = "vehicle", ev, KIND
    alerted = await call.run(alerts.is_active, *about)
    return await _check(call, asked, partial(rules.reset, alerted=alerted))


@get("/vehicles/{ev}/battery/checks", Permission.READ_BATTERIES)
async def list_battery_checks(call: Call, ev: _NAME) -> Page[rules.BatteryCheck]:
    """List the last 1,000 references, calibrations and resets of a vehicle's battery, oldest first."""
    call.require_vehicle(ev)
    return Page(tuple(await call.run(partial(rows.checks, ev=ev, limit=_MOST), (0, LAST_MS))))


class ReportOn(BatteryClaims, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a vehicle's battery, and what is claimed of it."""

    ev: _NAME


class SignedReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report as it was signed: `report` is JSON text, `signature` one as of openssl by the operator's key (`GET
    /books/key`)."""

    report: str
    signature: Annotated[str, msgspec.Meta(description="In base64.", examples=["MEUCIQ=="])]
    key_id: str


@get("/vehicles/{ev}/battery/report", Permission.READ_BATTERIES, problems=(409,))
async def read_battery_report(call: Call, parameters: ReportOn) -> SignedReport:
    """Return a signed report on a battery: capacity, health, cycles, exposure, events, evidence, passport attributes.

    Refused where too little was measured, and with a claim that contradicts what was.
    """
    data, signature, _ = await _signed_report(call, parameters)
    key = public_der(call.services[BooksKeys].own.public_key)
    return SignedReport(report=data.decode(), signature=b64encode(signature).decode(), key_id=sha256_hex(key))


@get(
    "/vehicles/{ev}/battery/report-page", Permission.READ_BATTERIES, media_type="text/html", problems=(409,), answer=str
)
async def read_battery_report_page(call: Call, parameters: ReportOn) -> Reply[bytes]:
    """Return the same report as a page that prints (HTML)."""
    data, signature, report = await _signed_report(call, parameters)
    page = report_page(report, data, signature).encode()
    return Reply(content=page, media_type="text/html", headers={"Content-Security-Policy": ALONE})


async def _signed_report(call: Call, parameters: ReportOn) -> tuple[bytes, bytes, HealthReport]:
    ev = parameters.ev
    call.require_vehicle(ev)
    battery = (await call.run(rows.batteries, [ev])).get(ev, rules.Battery())
    checked = await call.run(partial(rows.checks, ev=ev, limit=_MOST), (0, LAST_MS))
    listed = await call.run(alerts.listed, None, _MOST, (("vehicle", (ev,)),), active=None, subject=ev, kind=None)
    found = [ReportedEvent(each["kind"], each["raised_ms"], each["cleared_ms"], each["value"]) for each in listed]
    report = rules.health_report(call.services.config.battery, ev, battery, checked, found, call.now_ms)
    refuse_claims(report, parameters)
    return *await asyncio.to_thread(sign_report, report, call.services[BooksKeys].own), report


@get("/battery-reports", Permission.READ_MAINTENANCE)
async def list_battery_reports(call: Call) -> Page[rules.BatteryReport]:
    """List the monthly reports of references, newest first. They are made when a month (UTC) ends."""
    return Page(tuple(await call.run(rows.reports)))


@get("/battery-health", Permission.READ_BATTERIES)
async def list_fleet_health(call: Call, parameters: WhichHealth) -> Page[rules.FleetHealth]:
    """Return the estimated health of all batteries of the caller's vehicles over time, oldest first.

    Each point costs about 20 ms of CPU for 1,000 vehicles.
    """
    end_ms = call.now_ms if parameters.to_ms is None else parameters.to_ms
    begin_ms = max(0, end_ms - _SPAN_MS) if parameters.from_ms is None else parameters.from_ms
    if begin_ms >= end_ms:
        raise ApiError(400, "from_ms is not before to_ms", "leave both out for the last 91 days")
    evs = call.caller.only_evs
    low_percent = 100 * call.services.config.battery.health.low
    found, last = [], parameters.points - 1
    for number in range(parameters.points):
        at_ms = begin_ms + (end_ms - begin_ms) * number // last
        estimates = await call.run(rows.last_estimates, evs, (at_ms - _STALE_MS, at_ms))
        found.append(rules.fleet_health(at_ms, estimates, low_percent))
    return Page(tuple(found))


async def _check(call: Call, asked: rules.BatteryCheck, act: rows.Checking) -> rules.BatteryCheck:
    call.require_vehicle(asked.ev)
    done: list[rules.BatteryCheck] = []

    def read(_: Connection) -> rules.BatteryCheck | None:
        return done[-1] if done else None

    def write(connection: Connection, _: rules.BatteryCheck | None) -> None:
        done[:] = [rows.check(connection, asked, act, call.now_ms)]

    await call.change(read, write)
    call.backend.alerts.wake()
    return done[-1]
