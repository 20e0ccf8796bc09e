"""Background work: tasks that run as long as the back end, and periodic ones.

On several nodes each does all of it; every step claims its work in one transaction, so that none is done
twice.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final

from csms.attestations import work as attestations
from csms.booking.work import Bookkeeper
from csms.dispatch import work as dispatch_course
from csms.dispatch.work import Dispatch
from csms.display import work as display
from csms.firmware import campaigns
from csms.fleets.work import Fleets
from csms.grid.shares import GridShares
from csms.grid.source import GRID_SIGNAL, GridSource
from csms.overview import work as power_course
from csms.payments import work as payments
from csms.prequalifications.work import ExportPermits
from csms.remote_control import work as availability
from csms.reservations import work as reservations
from csms.retention.work import run_retention
from csms.roaming.partners import Partners
from csms.services import STEP_S, Services
from csms.sites.work import Balancer
from csms.smart_charging.work import LimitCourse, LocalSchedules, SmartCharging
from csms.station_security.authority import StationCa
from csms.station_templates.work import TemplateKeeper
from csms.stations.clocks import ClockKeeper
from csms.stations.last_seen import LastSeen
from csms.tariffs.work import CostAnnouncer, TariffService
from csms.tokens.local_lists import LocalListKeeper
from csms.transactions.work import TransactionWatch
from v2g.io.runtime.supervision import Supervisor


async def _note_seen(services: Services) -> None:
    await services[LastSeen].flush()


STEPS: Final[tuple[Callable[[Services], Awaitable[None]], ...]] = (
    availability.send_due,
    reservations.expire,
    display.expire,
    payments.advance,
    campaigns.advance,
    attestations.advance,
    dispatch_course.note,
    power_course.note,
    _note_seen,
)
"""Periodic steps: campaigns, attestation, due orders, web payments, the courses of set-points and power, and expiry."""


@contextlib.asynccontextmanager
async def background(services: Services) -> AsyncIterator[None]:
    """Run all background work until the block ends."""
    balancer = Balancer(services)
    works: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        ("transactions", TransactionWatch(services).run),
        ("costs", CostAnnouncer(services).run),
        ("tariffs", TariffService(services).run),
        ("balancing", balancer.run),
        ("site readings", balancer.tell),
        ("smart charging", SmartCharging(services).run),
        ("clocks", ClockKeeper(services).run),
        ("local schedules", LocalSchedules(services).run),
        ("dispatch", Dispatch(services).run),
        ("fleets", Fleets(services).run),
        ("limits", LimitCourse(services).run),
        ("local lists", LocalListKeeper(services).run),
        ("retention", partial(run_retention, services)),
        ("prequalifications", services[ExportPermits].run),
        ("templates", TemplateKeeper(services).run),
        ("grid signal", partial(_follow_grid_signal, services)),
        ("grid shares", services[GridShares].run),
        ("station CA", services[StationCa].keep_renewed),
        ("outside CAs", services[StationCa].enrolments.run),
        ("journals", partial(services[Bookkeeper].run, services.leads)),
    ]
    if services.find(Partners) is not None:
        from csms.roaming import work as roaming  # on demand, with the objects of OCPI

        works += [(f"roaming {name}", partial(work, services)) for name, work in roaming.WORKS]
    supervisor = Supervisor(services.observe)
    for name, work in works:
        supervisor.keep(name, partial(_repeat, work))
    for step in STEPS:  # not at once: stations need time to reconnect
        supervisor.keep(step.__module__, partial(_repeat, partial(step, services), after_s=STEP_S))
    try:
        yield
    finally:
        await supervisor.close()


async def _repeat(work: Callable[[], Awaitable[None]], after_s: float = 0.0) -> None:
    """Run a task, and again a little later after it failed."""
    await asyncio.sleep(after_s)
    while True:
        await work()
        await asyncio.sleep(STEP_S)


async def _follow_grid_signal(services: Services) -> None:
    """Load the signals that other nodes have stored."""
    with services.feed.subscribe({GRID_SIGNAL}) as changes:
        async for change in changes:
            if change.node != services.feed.node:
                await services[GridSource].take_newest()
