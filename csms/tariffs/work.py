"""Tariffs at stations that calculate costs themselves (2.1, I07 to I11), drivers' tariffs, VAT numbers, running costs.

Running costs of transactions are sent to stations at an interval and when prices change (I02, I03).
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

from csms.cluster.feed import LOST
from csms.cluster.precedence import for_each
from csms.device_model import store as device_model
from csms.device_model.work import set_variables
from csms.handlers import answers
from csms.services import HandlerContext, Services
from csms.smart_charging.work import SmartCharging
from csms.tariffs import store as tariffs
from csms.tariffs.store import Scope
from csms.tariffs.vat_numbers import vat_number_fits
from csms.tokens.rules import normalise
from csms.transactions import store as transactions
from csms.transactions.rules import Transaction
from v2g.energy.price_plan import PricePlan
from v2g.errors import OcppError, RefusedError, V2GError
from v2g.observe import Scalar
from v2g.ocpp.messages import tariff_cost as ocpp
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import Component, Message, StatusInfo, Variable
from v2g.ocpp.messages.payment import VatNumberValidationRequest, VatNumberValidationResponse
from v2g.ocpp.messages.provisioning import SetVariableData
from v2g.translate.ocpp_tariffs import money, to_wire
from v2g.units import decimals_of


class CostAnnouncer:
    """Sends the running cost of the transactions of stations that are connected to this node."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._announced: dict[tuple[str, str], int | None] = {}
        """Transaction -> the cost that was sent; None: its station shows none."""

    async def run(self) -> None:
        """Send costs at every interval, for ever."""
        while True:
            await asyncio.sleep(self._services.config.tariffs.running_cost_interval_s)
            await self.tell_all()

    async def tell_all(self) -> None:
        """Send every cost that has changed since it was sent."""
        services = self._services
        if not await services.store.read(tariffs.any_assigned):
            return
        here = services.connections.connected_here()
        stations = [each for each in await services.store.read(transactions.stations_with_open) if each in here]
        running = {key for keys in await for_each(stations, self._tell_station) for key in keys}
        self._announced = {key: announced for key, announced in self._announced.items() if key in running}

    async def _tell_station(self, station_id: str) -> list[tuple[str, str]]:
        """Send a station the costs of its transactions; return their ids."""
        keys = [
            (station_id, each.transaction_id)
            for each in await self._services.store.read(transactions.active, station_id)
        ]
        for key in keys:
            await self.announce(*key)
        return keys

    async def announce(self, station_id: str, transaction_id: str) -> None:
        """Send one transaction's cost, if it has a price, has changed and would not be held."""
        services = self._services
        key = (station_id, transaction_id)
        if self._announced.get(key, 0) is None:
            return
        known = await services.store.read(tariffs.cost, station_id, transaction_id)
        if known is not None and known["source"] == "station":
            return  # the station calculates its cost
        now_ms = services.clock.utc_ms()
        found = await services.store.read(tariffs.work_out, station_id, transaction_id, now_ms)
        if found is None or found.held or self._announced.get(key) == found.bill.incl_tax:
            return
        bill = found.bill
        await services.store.run(tariffs.keep_cost, found, now_ms)
        request = ocpp.CostUpdatedRequest(total_cost=money(bill.incl_tax), transaction_id=transaction_id)
        try:
            await services.connections.call(station_id, request)  # I02.FR.01
        except V2GError as error:
            if isinstance(error, OcppError) and error.not_there:  # nor will the next one be shown
                self._announced[key] = None
            data = {"transaction": transaction_id, "reason": str(error)[:200]}
            services.report("ocpp", "cost_update_failed", station_id, data)
            return
        self._announced[key] = bill.incl_tax
        cost = decimals_of(bill.incl_tax, bill.currency)
        announced: dict[str, Scalar] = {"transaction": transaction_id, "cost": cost, "currency": bill.currency}
        services.report("ocpp", "cost_updated", station_id, announced)


_BOOTED: Final = "boot_accepted"
_SITE_CHANGED: Final = "site_changed"
_REMOTE: Final = "remote_start_matched"
TARIFFS_CHANGED: Final = "tariffs_changed"
"""Kind of the event that reports other assignments of plans."""
_SHOWN: Final = ("TariffCostCtrlr", "TariffFallbackMessage")
_MOST_TEXT: Final = 255


class TariffService:
    """Operators' actions on tariffs. Plans apply in the back end whether or not a station supports them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._announcer = CostAnnouncer(services)
        self._installed: dict[str, Mapping[int, PricePlan | None]] = {}
        """Stations, with the plans of their EVSEs when these were installed last."""
        self._locks: dict[str, asyncio.Lock] = {}

    async def run(self) -> None:
        """Send the stations here the tariffs of their places (I07): each that boots, all when assignments or sites
        change; and those of drivers of remote starts; for ever."""
        services = self._services
        kinds = {_BOOTED, _SITE_CHANGED, TARIFFS_CHANGED, LOST, _REMOTE}
        with services.feed.subscribe(kinds) as events:
            for name, zone in (await services.store.read(tariffs.wrong_zones)).items():
                services.announce("ocpp", "plan_zone_unknown", plan=name, zone=zone)
            async with asyncio.TaskGroup() as group:
                async for event in events:
                    here = services.connections.connected_here()
                    if event.kind == _REMOTE:
                        if event.station_id in here:
                            group.create_task(self.give_driver(event.station_id, event.data["transaction"]))
                        continue
                    if event.kind == _BOOTED and event.station_id is not None:
                        self._installed.pop(event.station_id, None)
                        here = here & {event.station_id}
                    group.create_task(for_each(sorted(here), self.install_assigned))

    async def set_default(self, station_id: str, evse_id: int, plan_id: str) -> str:
        """Assign a plan to a station (EVSE 0: all); return its status, `Central` where the back end calculates costs.

        Raises RefusedError (`unknown_plan`), or as `ConnectionRegistry.call`: then the plan applies here alone.
        """
        services = self._services
        scope = Scope(station_id=station_id, evse_id=evse_id)
        await services.store.run(tariffs.assign, scope, plan_id, services.clock.utc_ms())
        plan = await self._plan(plan_id)
        return await self.install(station_id, evse_id, plan)

    async def install(self, station_id: str, evse_id: int, plan: PricePlan) -> str:
        """Send a station its default tariff; return its status, or `Central`. Raises as `ConnectionRegistry.call`."""
        services = self._services
        if services.connections.version(station_id) == "2.0.1":
            return "Central"
        try:
            request = ocpp.SetDefaultTariffRequest(evse_id=evse_id, tariff=to_wire(plan))
            response = await services.connections.expect(station_id, request, ocpp.SetDefaultTariffResponse)
        except OcppError as error:
            if not error.not_there:
                raise
            status = "Central"
        except RefusedError as error:
            if error.reason != "not_local":
                raise
            status = "Central"
        else:
            status = response.status
        data: dict[str, Scalar] = {"tariff": plan.id, "evse": evse_id, "status": status}
        services.report("ocpp", "default_tariff", station_id, data)
        return status

    async def give_driver(self, station_id: str, transaction_id: str) -> None:
        """Change a transaction to its driver's own tariff (I11).

        Only the answer to Authorize has it (I08.FR.01), and a remote start without AuthorizeRemoteStart asks for none.
        """
        services = self._services
        if services.connections.version(station_id) != "2.1":
            return
        plan = await services.store.read(tariffs.driver_plan_due, station_id, transaction_id)
        if plan is not None:
            with contextlib.suppress(V2GError):  # then its cost is by the station's tariff, which drivers see
                status = await self.change_transaction(station_id, transaction_id, plan.id)
                data: dict[str, Scalar] = {"transaction": transaction_id, "tariff": plan.id, "status": status}
                services.report("ocpp", "driver_tariff", station_id, data)

    async def install_assigned(self, station_id: str) -> None:
        """Have the default tariffs of a station be those of its place. What it has already is kept."""
        async with self._locks.setdefault(station_id, asyncio.Lock()):
            wanted = await self._services.store.read(tariffs.plans_at, station_id)
            if wanted and self._installed.get(station_id) != wanted:
                await self._install(station_id, wanted)

    async def _install(self, station_id: str, wanted: Mapping[int, PricePlan | None]) -> None:
        services = self._services
        local = services.connections.version(station_id) == "2.1"
        try:
            if not local or not await self._install_local(station_id, wanted):
                await self._describe(station_id, wanted)
        except V2GError as error:
            services.report("ocpp", "default_tariff_not_set", station_id, {"reason": str(error)[:200]})
            return
        self._installed[station_id] = wanted

    async def _install_local(self, station_id: str, wanted: Mapping[int, PricePlan | None]) -> bool:
        """Set the default tariffs of a station that calculates costs; False for one that does not."""
        there: dict[str, set[int]] = {}
        with contextlib.suppress(OcppError):  # it may not have this request
            for each in (await self.get(station_id)).tariff_assignments:
                if each.tariff_kind == "DefaultTariff":
                    there.setdefault(each.tariff_id, set()).update(each.evse_ids)
        target: dict[str, set[int]] = {}
        plans = {evse_id: plan for evse_id, plan in wanted.items() if plan is not None and plan.export is None}
        for evse_id, plan in plans.items():
            if evse_id:
                target.setdefault(plan.id, set()).add(evse_id)
        if there == target and (target or 0 not in plans):  # without reported EVSEs nothing tells what is there
            return bool(plans)
        if there:
            await self._clear(station_id, ocpp.ClearTariffsRequest(tariff_ids=tuple(sorted(there))))
        if 0 in plans and await self.install(station_id, 0, plans[0]) == "Central":
            return False
        for evse_id in wanted:
            if evse_id in plans and plans[evse_id] != plans.get(0):
                await self.install(station_id, evse_id, plans[evse_id])
            elif evse_id not in plans and 0 in plans:  # its costs are calculated here, or it has no price
                await self._clear(station_id, ocpp.ClearTariffsRequest(evse_id=evse_id))
        return bool(plans)

    async def _describe(self, station_id: str, wanted: Mapping[int, PricePlan | None]) -> None:
        """Have a station whose costs are calculated here show the text of its tariff (I04.FR.01), if it can."""
        texts = {"" if each is None else each.description for each in wanted.values()}
        known = await self._services.store.read(device_model.list_variables, station_id, *_SHOWN)
        text, now = texts.pop() if len(texts) == 1 else "", known[0]["value"] if known else None
        if not known or not text or text == now:
            return
        place, name = Component(name=_SHOWN[0]), Variable(name=_SHOWN[1])
        data = [SetVariableData(component=place, variable=name, attribute_value=text[:_MOST_TEXT])]
        await set_variables(self._services, station_id, data)

    async def get(self, station_id: str, evse_id: int = 0) -> ocpp.GetTariffsResponse:
        """Get the tariffs of a station (I09)."""
        request = ocpp.GetTariffsRequest(evse_id=evse_id)
        return await self._services.connections.expect(station_id, request, ocpp.GetTariffsResponse)

    async def clear(
        self,
        station_id: str,
        evse_id: int | None = None,
        tariff_ids: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> ocpp.ClearTariffsResponse:
        """Clear a station's default tariffs (I10), and their assignments here, but for what it keeps."""
        services = self._services
        request = ocpp.ClearTariffsRequest(evse_id=evse_id, tariff_ids=tuple(tariff_ids))
        response = await self._clear(station_id, request, timeout_s)
        kept = {(each.tariff_id or "").lower() for each in response.clear_tariffs_result if each.status == "Rejected"}
        named = {each.lower() for each in tariff_ids}
        for scope, plan_id in await services.store.read(tariffs.assignments):
            cleared = (not named or plan_id.lower() in named) and not kept & {"", plan_id.lower()}
            placed = evse_id is None or scope.evse_id == evse_id
            if scope.station_id == station_id and not scope.token_type and cleared and placed:
                await services.store.run(tariffs.unassign, scope, services.clock.utc_ms())
        return response

    async def _clear(
        self, station_id: str, request: ocpp.ClearTariffsRequest, timeout_s: float | None = None
    ) -> ocpp.ClearTariffsResponse:
        connections = self._services.connections
        return await connections.expect(station_id, request, ocpp.ClearTariffsResponse, timeout_s=timeout_s)

    async def change_transaction(self, station_id: str, transaction_id: str, plan_id: str) -> str:
        """Change the plan of a running transaction (I11); return the station's status, or `Central`.

        Raises RefusedError (`unknown_plan`, `unknown_transaction`, `currency`), or as `ConnectionRegistry.call`.
        """
        services = self._services
        plan = await self._plan(plan_id)
        transaction = await self._running(station_id, transaction_id)
        status = "Central"
        if transaction.tariff_id is not None:  # the station calculates its cost
            request = ocpp.ChangeTransactionTariffRequest(
                tariff=to_wire(plan, driver=True), transaction_id=transaction_id
            )
            response = await services.connections.expect(station_id, request, ocpp.ChangeTransactionTariffResponse)
            status = response.status
        if status in ("Accepted", "Central"):
            await self._changed(station_id, transaction, plan)
        if status == "Central":
            text = plan.description or None
            await services.store.run(transactions.save_tariff_text, station_id, transaction_id, text)
            await self._announcer.announce(station_id, transaction_id)
        return status

    async def send(
        self,
        station_id: str,
        request: ocpp.SetDefaultTariffRequest | ocpp.ClearTariffsRequest | ocpp.ChangeTransactionTariffRequest,
        timeout_s: float,
    ) -> Message:
        """Send an operator's request as it is; what the station accepts applies here, too.

        Raises RefusedError (`unknown_plan`) for a tariff that no plan here has, `unknown_transaction`, or as
        `ConnectionRegistry.call`.
        """
        services = self._services
        if isinstance(request, ocpp.ClearTariffsRequest):
            return await self.clear(station_id, request.evse_id, request.tariff_ids, timeout_s)
        driver = isinstance(request, ocpp.ChangeTransactionTariffRequest)
        plan = await services.store.read(tariffs.plan, request.tariff.tariff_id)
        if plan is None or to_wire(plan, driver=driver) != request.tariff:
            raise RefusedError(
                f"no tariff {request.tariff.tariff_id} of the back end has these prices, so it would bill others",
                reason="unknown_plan",
                hint="store it and set it: v2g csms tariffs set",
            )
        if isinstance(request, ocpp.SetDefaultTariffRequest):
            answer = await services.connections.expect(
                station_id, request, ocpp.SetDefaultTariffResponse, timeout_s=timeout_s
            )
            if answer.status == "Accepted":
                scope = Scope(station_id=station_id, evse_id=request.evse_id)
                await services.store.run(tariffs.assign, scope, plan.id, services.clock.utc_ms())
            return answer
        transaction = await self._running(station_id, request.transaction_id)
        changed = await services.connections.expect(
            station_id, request, ocpp.ChangeTransactionTariffResponse, timeout_s=timeout_s
        )
        if changed.status == "Accepted":
            await self._changed(station_id, transaction, plan)
        return changed

    async def _running(self, station_id: str, transaction_id: str) -> Transaction:
        found = await self._services.store.read(transactions.get, station_id, transaction_id)
        if found is None or not found.active:
            raise RefusedError(f"no running transaction {transaction_id}", reason="unknown_transaction")
        return found

    async def _changed(self, station_id: str, transaction: Transaction, plan: PricePlan) -> None:
        services = self._services
        await services.store.run(tariffs.change_plan, transaction, plan, services.clock.utc_ms())
        with contextlib.suppress(V2GError):  # reported in the answer to the command
            await SmartCharging(services).reprice(station_id, transaction.transaction_id)

    async def _plan(self, plan_id: str) -> PricePlan:
        found = await self._services.store.read(tariffs.plan, plan_id)
        if found is None:
            raise RefusedError(f"no plan {plan_id}", reason="unknown_plan")
        return found


async def driver_tariff(context: HandlerContext, token: IdToken) -> ocpp.Tariff | None:
    """Return a driver's own tariff, for a station of 2.1 (I08.FR.01); None when there is none."""
    if context.version != "2.1":
        return None
    scope = Scope(station_id=context.station_id, token_type=token.type, id_token=normalise(token.type, token.id_token))
    plan = await context.services.store.read(tariffs.find_driver_plan, scope)
    try:
        return None if plan is None else to_wire(plan, driver=True)
    except RefusedError:
        return None  # then the back end calculates the cost


@answers
async def answer_vat_number_validation(
    context: HandlerContext, request: VatNumberValidationRequest
) -> VatNumberValidationResponse:
    """Answer whether a VAT number has its country's form (C18.FR.09, FR.10)."""
    fits = vat_number_fits(request.vat_number)
    context.observe("ocpp", "vat_number", fits=fits, evse=request.evse_id)
    return VatNumberValidationResponse(
        vat_number=request.vat_number,
        evse_id=request.evse_id,
        status="Accepted" if fits else "Rejected",
        status_info=None if fits else StatusInfo(reason_code="InvalidValue"),
    )
