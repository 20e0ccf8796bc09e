"""Compares stations with their configuration templates, and sets what differs."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final, Literal

import msgspec

from csms.cluster.precedence import for_each
from csms.device_model.work import get_variables, set_variables
from csms.services import Services
from csms.station_templates import store as rows
from csms.station_templates.rules import StationTemplate, place_of
from v2g.errors import V2GError

EVERY_S: Final = 60.0
READ_AGAIN_MS: Final = 86_400_000
"""Values that were reported so long ago are read again."""
_READ_AT_ONCE: Final = 50
_LEASE: Final = "configuration templates"


class TemplateOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a station: how many of its variables are set, and which were refused, with its answers."""

    station_id: str
    variables: int
    state: Literal["would be set", "set", "after its next boot", "failed"]
    reason: str = ""


class TemplateKeeper:
    """Compares all templates again and again: nodes take turns, and each reads the stations that it has."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._read_ms: dict[str, int] = {}
        """When stations were read last: some never report what a template names."""

    async def run(self) -> None:
        """Compare every minute, for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.step()

    async def step(self) -> None:
        """Read what is old of some stations, and compare all. Raises StoreError."""
        services = self._services
        leads, here = await services.leads(_LEASE, EVERY_S), services.connections.connected_here()
        for each in await services.store.read(rows.templates):
            await self._read(each, here)
            if leads:
                await compare(services, each)

    async def _read(self, of: StationTemplate, here: Collection[str]) -> None:
        store, now_ms = self._services.store, self._services.clock.utc_ms()
        before_ms = now_ms - READ_AGAIN_MS
        group = await store.read(rows.group, of)
        names = [each for each in group if each in here and self._read_ms.get(f"{of.id}/{each}", 0) <= before_ms]
        for name in (await store.read(rows.stale, of, names, before_ms))[:_READ_AT_ONCE]:
            self._read_ms[f"{of.id}/{name}"] = now_ms
            try:
                await get_variables(self._services, name, [each.to_get for each in of.values])
            except V2GError as error:
                self._services.report("ocpp", "device_model_unread", name, {"reason": str(error)[:200]})


async def compare(services: Services, of: StationTemplate) -> None:
    """Compare the stations of a template with it, and report which differ now and which do not any more."""
    differ, follow = await services.store.run(rows.compare, of, services.clock.utc_ms())
    for name in differ:
        services.report("ocpp", "template_differs", name, {"template": of.id, "version": of.version})
    for name in follow:
        services.report("ocpp", "template_followed", name, {"template": of.id, "version": of.version})


async def apply(
    services: Services, of: StationTemplate, names: Collection[str] = (), *, dry: bool = False
) -> Sequence[TemplateOutcome]:
    """Set what differs at the stations of a template, or at some of them; `dry`: only say what would be."""
    await compare(services, of)
    places: dict[str, set[str]] = {}
    for row in await services.store.read(rows.differing, template_id=of.id):
        if row["state"] != "after its next boot" and (not names or row["station_id"] in names):
            places.setdefault(row["station_id"], set()).add(row["place"])
    if dry:
        return [
            TemplateOutcome(station_id=name, variables=len(own), state="would be set") for name, own in places.items()
        ]

    async def one(name: str) -> TemplateOutcome:
        wanted = [each.to_set for each in of.values if place_of(each) in places[name]]
        try:
            answers = await set_variables(services, name, wanted)
        except V2GError as error:
            return TemplateOutcome(station_id=name, variables=0, state="failed", reason=str(error)[:300])
        refused = [
            f"{each.component.name}.{each.variable.name}: {each.attribute_status}"
            for each in answers
            if each.attribute_status not in ("Accepted", "RebootRequired")
        ]
        later = any(each.attribute_status == "RebootRequired" for each in answers)
        return TemplateOutcome(
            station_id=name,
            variables=len(answers) - len(refused),
            state="failed" if refused else "after its next boot" if later else "set",
            reason=", ".join(refused)[:1000],
        )

    found = await for_each(places, one)
    await compare(services, of)
    return found
