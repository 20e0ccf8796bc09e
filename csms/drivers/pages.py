"""What drivers see without a login: an EVSE with its price before the start, and a session with its receipt."""

import re
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec
from markupsafe import Markup

from csms.console.present import doing
from csms.console.visit import Visit, action, page, place
from csms.direct_payments import store as payments
from csms.direct_payments.rules import OVER
from csms.direct_payments.work import begin
from csms.drivers import api as drivers
from csms.drivers import store as rows
from csms.drivers.store import DriversEvse
from csms.drivers.work import code_for, opens
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.tariffs.rules import OfferedPrices, changes, offered
from v2g.energy.settlement.costing import UNITS
from v2g.energy.settlement.pieces import zone_of
from v2g.errors import RefusedError
from v2g.typed_json import Fields
from v2g.units import MICRO, decimals_of, micro_of

STATES: Final = {
    "Faulted": "Out of order", "Unavailable": "Out of service", "Occupied": "Occupied", "Reserved": "Reserved",
    "Available": "Free",
}  # fmt: skip
"""What a driver is told of an EVSE, by the worst of its connectors."""

SHOWN: Final = {
    "energy": ("Charging, you pay", "kWh"), "export": ("Feeding back, you get", "kWh"),
    "charging_time": ("Charging time", "min"), "idle_time": ("Standing without charging", "min"),
    "fixed": ("Each session", ""),
    "reservation_time": ("Reservation", "min"), "reservation_fixed": ("Each reservation", ""),
}  # fmt: skip
"""Kinds of charges, and the unit of their price."""


_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,253}")
_WEB: Final = re.compile(r"https://|http://(localhost|127\.0\.0\.1)[:/]")
"""Addresses of a provider's page to which a driver is sent."""


class DriversPlace(NamedTuple):
    """The EVSE of a driver's page: its station, number and facts, and in which state it is."""

    station: str
    evse_id: int
    found: DriversEvse
    state: str

    def prepaid(self, visit: Visit) -> dict[str, str] | None:
        """Return the amount to be paid before a session here, None where that is not possible."""
        config, plan = visit.services.config.payments.direct, self.found.plan
        free = self.state == STATES["Available"] and not self.found.transaction_id
        if config is None or not micro_of(config.amount) or not free or plan is None:
            return None
        return _amount(micro_of(config.amount), plan.currency) if plan.currency == config.currency else None


async def _place(visit: Visit) -> DriversPlace:
    """Return the EVSE whose code a page has. Raises ApiError."""
    station, number, code = (visit.path[each] for each in ("station_id", "evse_id", "code"))
    if not number.isdecimal() or len(number) > 9 or not opens(visit.services, code, "evse", station, number):
        raise ApiError(404, "there is no such page", "scan the code at the charger again")
    found = await visit.services.store.read(rows.evse, station, int(number))
    if found is None:
        raise ApiError(404, "there is no such page", "the charger has not reported this plug yet")
    connected = station in visit.services.connections.connected()
    state = next((text for name, text in STATES.items() if name in found.statuses), "Free")
    return DriversPlace(station, int(number), found, state if connected else "Not connected")


def _session(visit: Visit, station: str, transaction_id: str) -> str:
    """Return the address of a session's page, "" without a session."""
    if not transaction_id:
        return ""
    return place("q", station, "session", transaction_id, code_for(visit.services, "session", station, transaction_id))


@page("/q/{station_id}/{evse_id}/{code}", public=True)
async def drivers_evse(visit: Visit) -> Answer:
    """Show an EVSE to who stands before it: whether it is free, its prices with tax, and the running session."""
    here = await _place(visit)
    station, number, found, state = here
    now, later = None, []
    if found.plan is not None:
        moment = datetime.fromtimestamp(visit.now_ms / 1000, zone_of(found.plan.zone))
        now, later = offered(found.plan, moment), changes(found.plan, moment)
    link = _session(visit, station, found.transaction_id)
    pay = visit.services.config.payments.pay_url if state == STATES["Available"] and not link else ""
    return visit.show(
        "driver.html",
        200,
        station=station,
        evse=number,
        site=found.site,
        state=state,
        plan=found.plan,
        prices=_prices(now),
        changes=[(f"{at // 60:02}:{at % 60:02}", _prices(each)) for at, each in later],
        link=link,
        pay=pay.replace("{station_id}", quote(station, safe="")).replace("{evse_id}", str(number)),
        prepaid=here.prepaid(visit),
        form=place("q", station, number, visit.path["code"], "pay"),
        shown=SHOWN,
    )


@action("/q/{station_id}/{evse_id}/{code}/pay", public=True)
async def pay_here(visit: Visit) -> Answer:
    """Begin a payment for a session at an EVSE, and show it."""
    here = await _place(visit)
    if not here.prepaid(visit):
        raise ApiError(409, "charging cannot be paid here now", "the plug is occupied, or has no price")
    origin = _origin(visit)

    def address(number: int) -> str:
        return place("q", here.station, "payment", number, code_for(visit.services, "payment", str(number)))

    try:
        payment = await begin(visit.services, here.station, here.evse_id, lambda number: f"{origin}{address(number)}")
    except RefusedError:
        raise ApiError(409, "somebody pays at this plug already", "try again in some minutes") from None
    return visit.see(address(payment.id))


@page("/q/{station_id}/payment/{number}/{code}", public=True)
async def drivers_payment(visit: Visit) -> Answer:
    """Show a payment to its driver: what is to be done, what was taken, and the way to the session."""
    number, code = visit.path["number"], visit.path["code"]
    if not number.isdecimal() or len(number) > 15 or not opens(visit.services, code, "payment", number):
        raise ApiError(404, "there is no such page", "scan the code at the charger again")
    found = await visit.services.store.read(payments.payment, int(number))
    if found is None:
        raise ApiError(404, "there is no such payment", "it is no longer kept")
    approve = found.approval_url if found.state == "pending" and _WEB.match(found.approval_url) else ""
    held, taken = (_amount(each, found.currency) for each in (found.amount_micro, found.captured_micro))
    link = _session(visit, found.station_id, found.transaction_id)
    over = found.state in OVER
    return visit.show(
        "driver_payment.html", 200, found=found, over=over, approve=approve, link=link, held=held, taken=taken
    )


def _prices(prices: OfferedPrices | None) -> dict[str, str]:
    """Return prices by kind; those that are free are left out."""
    named = {} if prices is None else {name: getattr(prices, name) for name in prices.__struct_fields__}
    return {name: value for name, value in named.items() if value is not None}


@page("/q/{station_id}/session/{transaction_id}/{code}", public=True)
async def drivers_session(visit: Visit) -> Answer:
    """Show a session to its driver: energy and cost while it runs, then the receipt."""
    station, name, code = (visit.path[each] for each in ("station_id", "transaction_id", "code"))
    if not opens(visit.services, code, "session", station, name):
        raise ApiError(404, "there is no such page", "open it by the code at the charger, while you charge")
    found = await visit.services.store.read(rows.session, station, name, visit.now_ms)
    if found is None:
        raise ApiError(404, "there is no such session", "it is no longer kept")
    of, bill = found.transaction, found.cost

    amount = partial(_amount, currency=bill.currency if bill else "")
    return visit.show(
        "driver_session.html",
        200,
        station=station,
        site=found.site,
        found=of,
        held=found.held,
        state=doing(of) if of["active"] else "Ended",
        energies={way: _taken(of, way) for way in ("import", "export")},
        cost=amount(bill.incl_tax) if bill else None,
        tax=amount(bill.incl_tax - bill.excl_tax) if bill else None,
        lines=[
            (
                *SHOWN[each.kind],
                decimals_of(each.quantity * MICRO // UNITS[each.kind]),
                decimals_of(each.price),
                amount(each.incl_tax),
            )
            for each in (bill.lines if bill and not of["active"] else ())
        ],
    )


def _amount(micro: int, currency: str) -> dict[str, str]:
    return {"amount": decimals_of(micro), "currency": currency}


def _taken(found: Fields, way: str) -> float | None:
    """Return the energy (Wh) of a session, None where a register is unknown."""
    begin, end = found[f"{way}_start_wh"], found[f"{way}_wh"]
    return None if begin is None or end is None else float(end) - float(begin)


class ShownCode(msgspec.Struct, frozen=True, kw_only=True):
    """A QR code: the EVSE if it is of one, its address, and its picture."""

    evse_id: int | None
    address: str
    picture: Markup


@page("/stations/{station_id}/codes", drivers.list_driver_pages)
async def show_codes(visit: Visit) -> Answer:
    """Show the QR codes of a station to print: one for drivers at each EVSE, and one for who installs it."""
    name, origin = visit.path["station_id"], _origin(visit)
    if not origin:
        raise ApiError(400, "the address of this console is not known", "set api.origin")
    paths: list[tuple[int | None, str]] = [(None, place("stations", name))]
    paths += [(each["evse_id"], each["path"]) for each in await visit.ask(drivers.list_driver_pages, station_id=name)]
    codes = [
        ShownCode(evse_id=evse_id, address=origin + path, picture=_picture(origin + path)) for evse_id, path in paths
    ]
    return visit.show("codes.html", name=name, codes=codes)


def _origin(visit: Visit) -> str:
    """Return the scheme and host of this console, "" if they are not known."""
    host = visit.request.headers.get("host", "")
    return visit.services.config.api.origin or (f"https://{host}" if _HOST.fullmatch(host) else "")


def _picture(address: str) -> Markup:
    import segno  # only for this page

    drawn = segno.make_qr(address, error="m").svg_inline(light="#fff", omitsize=True, lineclass=None, svgclass="qr")
    return Markup('<span role="img" aria-label="{}">{}</span>').format(address, Markup(drawn))  # noqa: S704 - numbers
