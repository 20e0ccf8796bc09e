"""Notes the course of power and use."""

from csms.grid.source import GridSource
from csms.overview import course
from csms.services import Services
from csms.sites import store as site_store


async def note(services: Services) -> None:
    """Note a point, unless that of these five minutes is there already. Raises StoreError."""
    now_ms = services.clock.utc_ms()
    at_ms = now_ms - now_ms % course.STEP_MS
    if await services.store.read(course.has, at_ms):
        return
    signal, connected = services[GridSource].current, services.connections.connected()
    limits = () if signal is None else signal.limits_at(now_ms)
    sites = await services.store.read(site_store.all_sites)
    rows = await services.store.read(course.now, sites, connected, limits, at_ms, now_ms)
    await services.store.run(course.add, rows)
