"""Sends the newest grid signal to one station: limits profile by profile, lower ones first, then prices.

Each item has one carrier: limits are in charging profiles, prices in a DataTransfer, and so is the export limit for
OCPP 2.0.1, whose profiles cannot express it.

Without a signal, stations with a prequalification record get what it permits, bidirectional vehicles without one that
they must not feed back, and vehicles that sent their needs their prices; nothing else is sent.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import msgspec

from csms.grid.shares import GridShares
from csms.grid.source import GridSource
from csms.grid.store import Share
from csms.prequalifications.rules import OPEN, ExportPermit, bare_signal, permitted
from csms.prequalifications.work import ExportPermits
from csms.services import Services
from csms.sites.work import hold_back
from csms.smart_charging import rules
from csms.smart_charging import store as charging
from csms.smart_charging.limits_in_force import PermittedPower
from csms.smart_charging.work import SmartCharging
from csms.stations import store as stations
from csms.tariffs import store as price_deliveries
from csms.tariffs.vehicle_prices import has_prices, with_prices
from csms.transactions import store as transactions
from v2g.energy.grid_signal import ExportSignal, GridSignal, PriceSignal
from v2g.energy.settlement.operator import tariff_digest
from v2g.errors import OcppError, RefusedError, StoreError, V2GError
from v2g.io.runtime.supervision import cancel_tasks, spawn, wait_at_most
from v2g.observe import Scalar
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.smart_charging import SetChargingProfileRequest
from v2g.ocpp.routes import Version

M = TypeVar("M", bound=Message)
Limits = tuple[tuple[float | None, float | None, str | None], ...]
"""Limit, limit of discharge and operation mode of each period."""

_PROFILES: Final = "SetChargingProfile"
_DATA: Final = "DataTransfer"
_OFFLINE: Final = "maxOfflineDuration"
_LIMITED_S: Final = 3.0
"""An authorisation waits at most so long for its station's first limits."""


class Caller(Protocol):
    """The connection to a station."""

    @property
    def version(self) -> Version:
        """Its version of OCPP."""

    async def call(self, request: Message, response: type[M], *, timeout: float | None = None) -> M:
        """Send a request and return the response. Raises V2GError."""


class Pusher:
    """Works for one connection, from `begin` to `close`, whenever there is something to send; `wake` triggers it.

    It is idle most of the time, at almost no cost.
    """

    __slots__ = (
        "_begun",
        "_caller",
        "_delivered",
        "_limited",
        "_needs",
        "_news",
        "_of_evse",
        "_pause",
        "_permit",
        "_sent",
        "_services",
        "_share",
        "_sharers",
        "_station_id",
        "_task",
        "_turnover",
    )

    def __init__(self, services: Services, station_id: str, caller: Caller) -> None:
        self._services = services
        self._station_id = station_id
        self._caller = caller
        self._begun = False
        self._news = False
        self._task: asyncio.Task[None] | None = None
        self._pause: asyncio.Future[None] | None = None
        self._needs: dict[str, rules.Needs] = {}
        self._delivered: tuple[int, ExportPermit, Share] | None = None
        self._limited = asyncio.Event()
        self._share = Share()
        """What the station may draw and feed back of the limits that it shares with others."""
        self._sent: dict[tuple[int, str | None], Limits] = {}
        """The limits in each profile that the station has accepted."""
        self._permit = OPEN
        self._of_evse: dict[int, ExportPermit] = {}
        """What each EVSE may export, as of the permit."""
        self._sharers = 1
        """The number of transactions that the sent profiles assume."""
        self._turnover = False

    def begin(self) -> None:
        """Start sending requests to the station."""
        if not self._begun:
            self._begun = True
            self._services[GridShares].follow(self._station_id, self.wake)
            self.wake()

    async def close(self) -> None:
        """Stop: the connection has ended."""
        self._begun = False
        self._services[GridShares].leave(self._station_id, self.wake)
        await cancel_tasks(self._task)

    def wake(self) -> None:
        """Check for a newer signal."""
        self._news = True
        if self._pause is not None and not self._pause.done():
            self._pause.set_result(None)
        if self._begun and self._task is None and (self._needs or self._has_something()):
            self._task = spawn(self.run())

    def _has_something(self) -> bool:
        """Return whether there may be something to send without a vehicle's needs."""
        bound = self._permit.bound or self._services[ExportPermits].concerns(self._station_id)
        return bound or self._services[GridSource].current is not None or self._may_fall_back()

    def add_needs(self, transaction_id: str, needs: rules.Needs) -> None:
        """Send the profile of a transaction, before anything else."""
        self._needs[transaction_id] = needs
        self.wake()

    async def limit_first(self) -> None:
        """Wait, but not for long, until the station has its limits for the first time: power is permitted next."""
        if self._has_something() and not self._limited.is_set():  # its task may begin after a pause
            await wait_at_most(_LIMITED_S, self._limited.wait())

    def transactions_changed(self) -> None:
        """A transaction has begun or ended: the parts of the export limit may change."""
        if self._caller.version == "2.1" and self._delivered is not None:
            self._turnover = True
            self.wake()

    async def run(self) -> None:
        """Send what is new, retrying after `grid.retry_interval_s`, until the station has everything."""
        try:
            done = False
            while self._news or not done:
                self._news = False
                if done := await self._try():
                    self._limited.set()
                if not done and not self._news:
                    self._pause = asyncio.get_running_loop().create_future()
                    try:
                        await asyncio.wait((self._pause,), timeout=self._services.config.grid.retry_interval_s)
                    finally:
                        self._pause = None
        finally:
            self._task = None

    async def _try(self) -> bool:
        try:
            with self._services.precedence.command():
                return await self._bring()
        except StoreError as error:
            self._report("grid_signal_push_failed", reason=str(error)[:200])
            return False

    async def _bring(self) -> bool:
        """Return whether the station has everything."""
        while True:
            granted = await self._granted()
            current = self._services[GridSource].current
            self._share = await self._services[GridShares].of(self._station_id)
            if self._services[GridSource].current is not current:
                continue  # the share is of the signal before: its limits may be higher
            bare = bare_signal(self._services.clock.utc_ms())
            signal = bare if current is None and await self._carries_permit() else current
            if self._needs:
                transaction_id, needs = next(iter(self._needs.items()))
                about = bare if signal is None and granted.bound and needs.bidirectional else signal
                if not await self._send_transaction(about, transaction_id, needs):
                    return False
                if self._needs.get(transaction_id) is needs:
                    del self._needs[transaction_id]
            elif signal is None:
                return True
            elif self._delivered == (signal.version, granted, self._share):
                if not self._turnover:
                    return True
                if not await self._send_parts(signal):
                    return False
            elif not await self._send_signal(signal, granted) and not self._is_outdated(signal):
                return False

    async def _carries_permit(self) -> bool:
        """Return whether the station has a record or a limit for when it is offline, or may still go by one that it was
        sent."""
        station_id = self._station_id
        if self._services[ExportPermits].recorded(station_id) or self._delivered is not None or self._may_fall_back():
            return True
        return await self._services.store.read(stations.signal_version, station_id) is not None

    async def _granted(self) -> ExportPermit:
        """Return what each EVSE may export; report when that becomes nothing, and when it no longer is."""
        granted, permits = OPEN, self._services[ExportPermits]
        self._of_evse = {}
        if permits.concerns(self._station_id):
            evses = await self._services.store.read(stations.count_evses, self._station_id)
            granted = permits.of_all(self._station_id, evses)
            self._of_evse = {evse_id: permits.of(self._station_id, evse_id) for evse_id in range(1, evses + 1)}
        if granted.reason != self._permit.reason:
            if granted.reason:
                self._report("export_refused", reason=granted.reason)
            else:
                self._report("export_permitted", most_w=granted.most_w, until_ms=granted.until_ms)
        self._permit = granted
        return granted

    def _shared(self, signal: GridSignal) -> GridSignal:
        """Return a signal with the station's share of its limits."""
        import_w, export_w = self._share
        return msgspec.structs.replace(signal, site_import_limit_w=import_w, export_limit_w=export_w)

    async def _send_signal(self, signal: GridSignal, granted: ExportPermit) -> bool:
        """Send everything that follows from a signal; False when a newer one or new needs arrived, or it failed.

        Where only the station's share has changed, profiles whose limits stay are left out.
        """
        now_ms, share = self._services.clock.utc_ms(), self._share
        version = self._caller.version
        read = self._services.store.read
        evses = await read(stations.count_evses, self._station_id)
        only_share = self._delivered is not None and self._delivered[:2] == (signal.version, granted)
        offline = self._offline(evses)
        bounded = permitted(self._shared(signal), granted, evses)
        requests = rules.station_profiles(bounded, version, now_ms, evses=evses, offline=offline)
        sharers = await read(transactions.count_sharers, self._station_id)
        for transaction_id, needs in await read(transactions.with_needs, self._station_id):
            if request := await self._transaction_profile(signal, transaction_id, needs, sharers):
                requests.append(request)
        requests.sort(key=lambda each: not _lowers(_limits(each), self._sent.get(_key(each))))  # lower ones never wait
        # of 2.0.1 its limit of export is beside the prices
        data_first = version == "2.0.1" and self._delivered is not None and share.export_w < self._delivered[2].export_w
        if data_first and not await self._send_prices(permitted(self._shared(signal), granted, 1)):
            return False
        begins = self._delivered is None and offline is None  # one of before would be in the place of the site's limit
        if begins and not await self._clear(lambda held: held.id == rules.OFFLINE_PROFILE):
            return False
        taken = {True: True, False: True}
        """Whether it accepts what bounds its import, and its export."""
        for request in requests:
            if self._is_outdated(signal):
                return False
            if only_share and self._sent.get(_key(request)) == _limits(request):
                continue
            settled = self._has(_PROFILES) and await self._send_profile(signal.version, request)
            if settled is None:
                return False
            number = request.charging_profile.id
            if offline is not None and not settled and number in (rules.SITE_PROFILE, rules.OFFLINE_PROFILE):
                # with the first alone, which ends while it is offline, it would have no limit then
                self._services[rules.StationAbilities].lack(self._station_id, _OFFLINE)
                self._report("offline_limit_refused")
                self._delivered, self._news = None, True
                return False
            taken[number == rules.SITE_PROFILE] &= settled
        wanted = {each.charging_profile.id for each in requests}
        if not await self._clear(lambda held: rules.is_of_signal(held) and held.id not in wanted):
            return False
        if self._is_outdated(signal):
            return False
        prices = not data_first and (not only_share or version == "2.0.1")
        if prices and not await self._send_prices(permitted(self._shared(signal), granted, 1)):
            return False
        self._delivered, self._sharers = (signal.version, granted, share), sharers
        held_w = share.import_w if taken[True] else None, share.export_w if all(taken.values()) else None
        if any(each is not None for each in held_w):
            await self._services[GridShares].accepted(self._station_id, *held_w)
            self._report("grid_share", import_w=held_w[0], export_w=held_w[1])
        if not only_share:
            await self._services.store.run(stations.save_signal_version, self._station_id, signal.version)
            self._report(
                "grid_signal_pushed", version=signal.version, profiles=len(requests), all_taken=all(taken.values())
            )
        return True

    async def _send_parts(self, signal: GridSignal) -> bool:
        """Send every bidirectional vehicle its part, if it has changed; False when it failed."""
        self._turnover, done = False, False
        read = self._services.store.read
        try:
            sharers = await read(transactions.count_sharers, self._station_id)
            if sharers != self._sharers:
                for transaction_id, needs in await read(transactions.with_needs, self._station_id):
                    if needs.bidirectional and not await self._send_transaction(signal, transaction_id, needs):
                        return False
            self._sharers, done = sharers, True
        finally:
            self._turnover |= not done
        return True

    def _is_outdated(self, signal: GridSignal) -> bool:
        current = self._services[GridSource].current
        return bool(self._needs) or (signal is not current and (current is not None or signal.version != 0))

    async def _transaction_profile(
        self, signal: GridSignal | None, transaction_id: str, needs: rules.Needs, sharers: int
    ) -> SetChargingProfileRequest | None:
        """Return the profile of a transaction, by what its EVSE may export; without limits, one with prices, if any."""
        now_ms, version = self._services.clock.utc_ms(), self._caller.version
        granted = self._of_evse.get(needs.evse_id, self._permit)
        request = None
        if signal is not None:
            bounded = permitted(self._shared(signal), granted, sharers)
            request = rules.transaction_profile(bounded, version, now_ms, transaction_id, needs, sharers=sharers)
        if request is not None:
            return await self._priced(request)
        bare = rules.open_profile(version, now_ms, transaction_id, needs, most_export_w=granted.most_w)
        priced = None if bare is None else await self._priced(bare)
        return priced if priced is not None and has_prices(priced.charging_profile) else None

    async def _send_transaction(self, signal: GridSignal | None, transaction_id: str, needs: rules.Needs) -> bool:
        """Send the profile of a transaction, if it has one; False when it failed."""
        if not self._has(_PROFILES):
            return True
        sharers = await self._services.store.read(transactions.count_sharers, self._station_id)
        request = await self._transaction_profile(signal, transaction_id, needs, sharers)
        version = None if signal is None else signal.version
        return request is None or await self._send_profile(version, request) is not None

    def _may_fall_back(self) -> bool:
        """Return whether the station may take a limit for when it is offline."""
        return (
            self._services.config.grid.offline is not None
            and self._caller.version == "2.1"
            and self._has(_PROFILES)
            and self._has(_OFFLINE)
        )

    def _offline(self, evses: int) -> tuple[int, int] | None:
        """Return after how many seconds offline the station may draw how much, W, if it takes such a limit."""
        limit = self._services.config.grid.offline
        return (limit.after_s, limit.evse_w * evses) if limit is not None and self._may_fall_back() else None

    async def _clear(self, unwanted: Callable[[ChargingProfile], bool]) -> bool:
        """Clear own profiles of a station; False when it failed."""
        for _, source, held in await self._services.store.read(charging.profiles, self._station_id):
            if source == charging.CSO and unwanted(held):
                try:
                    await SmartCharging(self._services).clear(self._station_id, profile_id=held.id)
                except OcppError:
                    continue
                except V2GError as error:
                    self._report("grid_signal_push_failed", request="ClearChargingProfile", reason=str(error)[:200])
                    return False
        return True

    def _has(self, what: str) -> bool:
        return self._services[rules.StationAbilities].has(self._station_id, what)

    async def _priced(self, request: SetChargingProfileRequest) -> SetChargingProfileRequest:
        profile = await with_prices(self._services, self._station_id, self._caller.version, request.charging_profile)
        return msgspec.structs.replace(request, charging_profile=profile)

    async def _send_profile(self, signal_version: int | None, request: SetChargingProfileRequest) -> bool | None:
        """Return whether a profile was accepted, False if it was rejected for good; None: retry later."""
        profile, detail = request.charging_profile, ""
        if profile.transaction_id is not None and not await hold_back(
            self._services, self._station_id, request.evse_id, profile.transaction_id
        ):
            return None
        try:
            charging_ = SmartCharging(self._services)
            response = await charging_.set_profile(self._station_id, request.evse_id, profile)
            status = response.status
            detail = response.status_info.reason_code if response.status_info else ""
        except OcppError as error:
            self._lack(_PROFILES, error)
            self._report("grid_signal_push_refused", request="SetChargingProfile", reason=str(error)[:200])
            return False
        except RefusedError as error:
            if error.reason == "not_prequalified":  # the permit has changed meanwhile
                return None
            status, detail = "Rejected", error.reason
        except V2GError as error:
            self._report("grid_signal_push_failed", request="SetChargingProfile", reason=str(error)[:200])
            return None
        self._report(
            "charging_profile_set",
            version=signal_version,
            purpose=profile.charging_profile_purpose,
            transaction=profile.transaction_id,
            status=status,
            reason=detail,
        )
        if status == "Accepted":
            self._sent[_key(request)] = _limits(request)
        return status == "Accepted"

    async def _send_prices(self, signal: GridSignal) -> bool:
        if self._services[GridSource].current is None and self._caller.version == "2.1":
            return True  # the profiles say it all
        if not self._has(_DATA):
            return True
        data = msgspec.to_builtins(signal.part(ExportSignal if self._caller.version == "2.0.1" else PriceSignal))
        request = DataTransferRequest(vendor_id=VENDOR, message_id="GridSignal", data=data)
        tariff, run, now_ms = tariff_digest(signal.tariff()), self._services.store.run, self._services.clock.utc_ms
        await run(price_deliveries.begin, self._station_id, tariff, now_ms())
        most = PermittedPower(0, None, signal.export_limit_w), PermittedPower(signal.valid_until_ms, None, 0)
        limit, notes = (self._station_id, rules.SIGNAL_EXPORT, most), []
        if limits := self._caller.version == "2.0.1":
            doubts = await self._services.store.read(charging.raised_beside, *limit, now_ms())
            notes = await run(charging.note_doubts, self._station_id, doubts, now_ms()) if doubts else []
        response = await self._call(request, DataTransferResponse)
        accepted = isinstance(response, DataTransferResponse) and response.status == "Accepted"
        if accepted:
            await run(price_deliveries.accept, self._station_id, tariff, now_ms())
        elif response is not None:
            await run(price_deliveries.refuse, self._station_id, tariff)
        if limits and accepted:
            await run(charging.note_beside, *limit, now_ms())
        if notes and response is not None:
            await run(charging.end_doubts, notes)
        if isinstance(response, DataTransferResponse) and response.status != "Accepted":
            if response.status == "UnknownVendorId":
                self._services[rules.StationAbilities].lack(self._station_id, _DATA)
            self._report("grid_signal_not_taken", version=signal.version, status=response.status)
        if isinstance(response, OcppError):
            self._lack(_DATA, response)
        return response is not None

    def _lack(self, what: str, error: OcppError) -> None:
        """Remember what a station does not have, until it boots with other firmware."""
        if error.not_there:
            self._services[rules.StationAbilities].lack(self._station_id, what)

    async def _call(self, request: Message, response: type[M]) -> M | OcppError | None:
        """Return the response, or the CALLERROR that rejects it for good; None: retry later."""
        try:
            return await self._caller.call(request, response)
        except OcppError as error:
            self._report("grid_signal_push_refused", request=type(request).__name__, reason=str(error)[:200])
            return error
        except V2GError as error:
            self._report("grid_signal_push_failed", request=type(request).__name__, reason=str(error)[:200])
            return None

    def _report(self, name: str, **data: Scalar) -> None:
        self._services.report("ocpp", name, self._station_id, data)


def _key(request: SetChargingProfileRequest) -> tuple[int, str | None]:
    return request.charging_profile.id, request.charging_profile.transaction_id


def _limits(request: SetChargingProfileRequest) -> Limits:
    periods = request.charging_profile.charging_schedule[0].charging_schedule_period
    return tuple((each.limit, each.discharge_limit, each.operation_mode) for each in periods)


def _lowers(limits: Limits, before: Limits | None) -> bool:
    """Return whether the present period permits less than that of the profile before."""
    if not before:
        return False
    pairs = zip(limits[0][:2], before[0][:2], strict=True)
    return any(now is not None and (was is None or abs(now) < abs(was)) for now, was in pairs)
