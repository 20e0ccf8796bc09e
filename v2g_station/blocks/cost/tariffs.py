"""The tariffs of a station: defaults of its EVSEs and drivers' own, set, reported and cleared (I07 to I10, 2.1).

The resulting cost of transactions is calculated in `local_cost`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from v2g.energy.price_plan import PricePlan
from v2g.errors import OcppError, RefusedError
from v2g.ocpp.messages import tariff_cost as ocpp
from v2g.ocpp.messages.authorization import AuthorizeRequest, AuthorizeResponse, IdToken
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.times import parse_time
from v2g.text import same_language
from v2g.translate.ocpp_tariffs import elements, has_conditions
from v2g.translate.station_tariffs import plan_of
from v2g_station.blocks.authorization.cache import Cache, DriverTariff
from v2g_station.blocks.cost.priced import Priced, PricedTerms
from v2g_station.blocks.diagnostics.monitoring import Monitors
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.identifiers import name_of
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Answer, Handler, StationCommand, status_info

MAX_DEFAULTS: Final = 100
MAX_DRIVERS: Final = 100
AFTER_S: Final = 1.0
_CONTROLLER: Final = "TariffCostCtrlr"
PROBLEM: Final = f"{_CONTROLLER}.Problem"
NOT_ENABLED: Final = "tariffs are not enabled: TariffCostCtrlr.Enabled"


class ShowTariff(StationCommand, frozen=True, kw_only=True):
    """Display a tariff at an EVSE: its default, or that of its current driver (I07.FR.14). `text` is for people.
    Without `tariff_id` only the text is displayed, or nothing if it is empty."""

    evse_id: int
    tariff_id: str
    text: str


class Default(msgspec.Struct, frozen=True, kw_only=True):
    """A default tariff and the EVSEs at which it is installed. `number` counts installations."""

    number: int
    evse_ids: tuple[int, ...]
    tariff: ocpp.Tariff

    @property
    def from_ms(self) -> int | None:
        """Start of validity, None for at once."""
        return None if self.tariff.valid_from is None else parse_time(self.tariff.valid_from)

    def holds(self, utc_ms: int) -> bool:
        """Return whether it is valid (I07.FR.19)."""
        return self.from_ms is None or self.from_ms <= utc_ms

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Of two valid tariffs, the greater has replaced the other (I07.FR.20 to .23)."""
        return self.from_ms is not None, self.from_ms or 0, self.number


class StationTariffs(FunctionalBlock):
    """The tariffs of one station. `priced` are the transactions that use one of them, by id."""

    def __init__(self, shared: Shared, cache: Cache, monitors: Monitors, priced: Mapping[str, Priced]) -> None:
        super().__init__(shared)
        self._cache = cache
        self._monitors = monitors
        self._priced = priced
        self._defaults = {each.tariff.tariff_id: each for each in self._k.stored("tariffs", Default).values()}
        self._drivers = cache.drivers
        self._shown: dict[int, str] = {}
        self._personal: set[int] = set()
        """EVSEs that display what their driver pays."""
        self.answers: dict[str, Handler] = {
            "SetDefaultTariff": self._set_default,
            "GetTariffs": self._get,
            "ClearTariffs": self._clear,
        }
        self._sessions.on_change(self._left)

    def start(self) -> None:
        """Check the tariffs installed before the last restart (I07.FR.13)."""
        self._settle()
        self._k.on_clock_set.append(lambda _: self._settle())

    # -- for the cost of transactions

    @property
    def enabled(self) -> bool:
        """Whether transactions are priced here: tariffs and local cost calculation are both enabled."""
        flag = self._k.model.flag
        return flag(f"{_CONTROLLER}.Enabled[Tariff]") and flag(f"{_CONTROLLER}.Enabled[Cost]")

    def default(self, evse_id: int) -> ocpp.Tariff | None:
        """Return the default tariff in force at an EVSE."""
        self._settle()
        here = [d for d in self._defaults.values() if evse_id in d.evse_ids and d.holds(self._k.utc_ms)]
        return here[0].tariff if here else None

    def driver(self, id_token: IdToken) -> DriverTariff | None:
        """Return what is known of a driver's own tariff (I08.FR.04, .05)."""
        found = self._drivers.get(name_of(id_token))
        if found is None and (known := self._cache.find(id_token)) is not None:
            found = known.driver
        return found

    def plan(self, tariff: ocpp.Tariff) -> PricePlan:
        """Return a tariff as a price plan, in local time (I07.FR.17). Raises RefusedError."""
        model = self._k.model
        zone = model.text("ClockCtrlr.TimeZone") or model.text("ClockCtrlr.TimeOffset") or "UTC"
        return plan_of(tariff, zone)

    def let_go(self, id_token: IdToken) -> None:
        """Remove a driver's tariff unless it is in use elsewhere (I08.FR.06, .07)."""
        name = name_of(id_token)
        if name not in self._drivers:
            return
        waiting = [evse.authorization.id_token for evse in self._evses.values() if evse.authorization is not None]
        used = any(terms.own and name_of(terms.id_token) == name for terms in self._terms())
        if used or any(name_of(each) == name for each in waiting):
            self._wait(id_token)
            return
        del self._drivers[name]
        self._k.cancel(f"tariff.driver.{name}")

    def problem(self, why: str) -> None:
        """Report that a tariff cannot be used (I08.FR.30, .37, I12.FR.18) or, without a reason, that one can."""
        value = "true" if why else "false"
        if why or self._k.model.text(PROBLEM) != value:
            self._k.put(PROBLEM, value)
            self._monitors.alert(PROBLEM, value, why)

    def offer(self, evse: Evse) -> None:
        """Display the tariff to a newly authorized driver (I01, I04), unless a transaction has displayed it."""
        found, model = evse.authorization, self._k.model
        if found is None or (evse.record is not None and evse.record.transaction_id in self._priced):
            return
        tariff = None
        if self.enabled:
            driver = self.driver(found.id_token)
            tariff = driver.tariff if driver is not None else self.default(evse.number)
        if tariff is not None:
            text = found.message or description(tariff, found.languages)
            self.show_own(evse.number, tariff.tariff_id, text)
            return
        offline = f"{_CONTROLLER}.OfflineTariffFallbackMessage"
        text = found.message or (model.text(offline) if not self._k.online else "")
        text = text or model.text(f"{_CONTROLLER}.TariffFallbackMessage")  # I04.FR.01
        if text:
            self.show_own(evse.number, "", text)

    def show_own(self, evse_id: int, tariff_id: str, text: str) -> None:
        """Display what the present driver pays."""
        self._personal.add(evse_id)
        self._k.do(ShowTariff(evse_id=evse_id, tariff_id=tariff_id, text=text))

    def show_default(self, evse_id: int) -> None:
        """Display what the next driver pays, where that of a driver is displayed."""
        if evse_id in self._personal:
            self._personal.remove(evse_id)
            self._show(evse_id, self.default(evse_id) if self.enabled else None, again=True)

    def _left(self, evse: Evse) -> None:
        """Display what the next driver pays once one has not come to begin a transaction."""
        if evse.authorization is None and evse.record is None:
            self.show_default(evse.number)

    # -- drivers

    def authorized(self, request: Message, answer: Answer) -> Answer:
        """Store the tariff received with an authorization; return the answer that the station is to apply (I08)."""
        if not isinstance(request, AuthorizeRequest) or not isinstance(answer, AuthorizeResponse):
            return answer
        name, id_token = name_of(request.id_token), request.id_token
        self._drivers.pop(name, None)
        if answer.tariff is None or answer.id_token_info.status != "Accepted" or not self.enabled:
            return answer
        tariff = msgspec.structs.replace(answer.tariff, valid_from=None)  # I08.FR.10
        status, info = self.refuse(tariff)
        if status == "Accepted":
            self._remember(id_token, DriverTariff(id_token=id_token.id_token, tariff=tariff))
            self.problem("")  # I08.FR.35
            return answer
        self._k.note("driver_tariff_refused", tariff_id=tariff.tariff_id, status=status)
        self.problem(info.reason_code if info is not None else status)
        match self._k.model.text(f"{_CONTROLLER}.HandleFailedTariff[Tariff]"):
            case "UseDefaultTariff":  # I08.FR.32
                return answer
            case "CentralCost":  # I08.FR.33
                self._remember(id_token, DriverTariff(id_token=id_token.id_token))
                return answer
        refused = msgspec.structs.replace(answer.id_token_info, status="Invalid")  # I08.FR.31
        return msgspec.structs.replace(answer, id_token_info=refused)

    def _remember(self, id_token: IdToken, found: DriverTariff) -> None:
        name = name_of(id_token)
        self._drivers[name] = found
        while len(self._drivers) > MAX_DRIVERS:
            del self._drivers[next(iter(self._drivers))]
        self._wait(id_token)

    def _wait(self, id_token: IdToken) -> None:
        """Check a driver's tariff again when an authorization can no longer wait for a plug (I08.FR.07)."""
        timeout = self._k.model.number("TxCtrlr.EVConnectionTimeOut")
        if timeout > 0:
            self._k.after(f"tariff.driver.{name_of(id_token)}", timeout + AFTER_S, lambda: self.let_go(id_token))

    # -- checks of tariffs

    def refuse(self, tariff: ocpp.Tariff) -> tuple[ocpp.TariffSetStatus, StatusInfo | None]:
        """Return Accepted, or why a tariff cannot be used (I07.FR.02, .03, .05)."""
        model = self._k.model
        if elements(tariff) > model.number(f"{_CONTROLLER}.MaxElements[Tariff]"):
            return "TooManyElements", None
        if has_conditions(tariff) and not model.flag(f"{_CONTROLLER}.ConditionsSupported[Tariff]"):
            return "ConditionNotSupported", None
        try:
            self.plan(tariff)
        except RefusedError as error:
            text = str(error)
            if error.reason == "condition":
                return "ConditionNotSupported", status_info("UnsupportedParam", text)
            return "Rejected", status_info("InvalidValue", text)
        return "Accepted", None

    def _require_enabled(self) -> None:
        """Raise NotSupported while the feature is disabled (I07.FR.01)."""
        if not self._k.model.flag(f"{_CONTROLLER}.Enabled[Tariff]"):
            raise OcppError(NOT_ENABLED, answer="NotSupported")

    # -- default tariffs

    def _set_default(self, request: ocpp.SetDefaultTariffRequest) -> Message:
        """I07."""
        self._require_enabled()
        tariff = request.tariff
        if request.evse_id and request.evse_id not in self._evses:
            return ocpp.SetDefaultTariffResponse(status="Rejected", status_info=status_info("UnknownEvse"))
        status, info = self.refuse(tariff)
        if status == "Accepted" and tariff.tariff_id in self._defaults:
            status = "DuplicateTariffId"
        if status == "Accepted" and len(self._defaults) >= MAX_DEFAULTS:
            status, info = "Rejected", status_info("OutOfMemory")
        if status == "Accepted":
            self._install(tariff, (request.evse_id,) if request.evse_id else tuple(self._evses))
        return ocpp.SetDefaultTariffResponse(status=status, status_info=info)

    def _install(self, tariff: ocpp.Tariff, evse_ids: tuple[int, ...]) -> None:
        number = max((each.number for each in self._defaults.values()), default=0) + 1
        new = Default(number=number, evse_ids=evse_ids, tariff=tariff)
        if new.from_ms is None:  # I07.FR.22
            for old in [each for each in self._defaults.values() if each.holds(self._k.utc_ms)]:
                self._withdraw(old, evse_ids)
        self._defaults[tariff.tariff_id] = new
        self._k.keep("tariffs", tariff.tariff_id, new)
        self._settle()

    def _withdraw(self, old: Default, evse_ids: Iterable[int]) -> None:
        """Remove a default tariff from EVSEs; running transactions keep using it (I07.FR.24, I10.FR.07)."""
        left = tuple(evse_id for evse_id in old.evse_ids if evse_id not in evse_ids)
        name = old.tariff.tariff_id
        if left == old.evse_ids:
            return
        if not left:
            del self._defaults[name]
            self._k.forget("tariffs", name)
            return
        self._defaults[name] = msgspec.structs.replace(old, evse_ids=left)
        self._k.keep("tariffs", name, self._defaults[name])

    def _settle(self) -> None:
        """Replace tariffs by those valid now, and schedule the next change."""
        now = self._k.utc_ms
        for evse_id in self._evses:
            here = [d for d in self._defaults.values() if evse_id in d.evse_ids and d.holds(now)]
            newest = max(here, key=lambda each: each.rank, default=None)
            for old in here:
                if old is not newest:
                    self._withdraw(old, (evse_id,))
            self._show(evse_id, None if newest is None else newest.tariff)
        coming = [d.from_ms for d in self._defaults.values() if d.from_ms is not None and d.from_ms > now]
        if coming:
            self._k.at_utc("tariffs", min(coming), self._settle)

    def _show(self, evse_id: int, tariff: ocpp.Tariff | None, *, again: bool = False) -> None:
        """Display the default tariff of an EVSE when it changes, or `again`; a driver's display changes with it only as
        long as no transaction has begun by another."""
        name = "" if tariff is None else tariff.tariff_id
        if again or self._shown.get(evse_id, "") != name:
            self._shown[evse_id] = name
            if evse_id in self._personal:
                self.offer(self._evses[evse_id])
                return
            text = "" if tariff is None else description(tariff)
            self._k.do(ShowTariff(evse_id=evse_id, tariff_id=name, text=text))

    def _clear(self, request: ocpp.ClearTariffsRequest) -> Message:
        """I10: default tariffs only."""
        self._require_enabled()
        evse_ids = (request.evse_id,) if request.evse_id else tuple(self._evses)
        meant = [
            each
            for each in self._defaults.values()
            if (not request.tariff_ids or each.tariff.tariff_id in request.tariff_ids)
            and set(evse_ids) & set(each.evse_ids)
        ]
        for each in meant:
            self._withdraw(each, evse_ids)
        self._settle()
        results = tuple(ocpp.ClearTariffsResult(status="Accepted", tariff_id=each.tariff.tariff_id) for each in meant)
        return ocpp.ClearTariffsResponse(
            clear_tariffs_result=results or (ocpp.ClearTariffsResult(status="NoTariff"),)  # I10.FR.06
        )

    # -- queries

    def _terms(self) -> Iterator[PricedTerms]:
        return (each.terms for each in self._priced.values())

    def _get(self, request: ocpp.GetTariffsRequest) -> Message:
        """I09."""
        self._require_enabled()
        if request.evse_id and request.evse_id not in self._evses:
            return ocpp.GetTariffsResponse(status="Rejected", status_info=status_info("UnknownEvse"))
        self._settle()
        found = [
            ocpp.TariffAssignment(
                tariff_id=each.tariff.tariff_id,
                tariff_kind="DefaultTariff",
                valid_from=each.tariff.valid_from,
                evse_ids=each.evse_ids,
            )
            for each in self._defaults.values()
        ] + self._own()
        found = [each for each in found if not request.evse_id or request.evse_id in each.evse_ids]
        return ocpp.GetTariffsResponse(status="Accepted" if found else "NoTariff", tariff_assignments=tuple(found))

    def _own(self) -> list[ocpp.TariffAssignment]:
        """Return drivers' tariffs, with their drivers and the EVSEs where they charge (I09.FR.05, .06)."""
        tokens: dict[str, dict[str, None]] = {}
        places: dict[str, dict[int, None]] = {}
        for each in self._drivers.values():
            if each.tariff is not None:
                tokens.setdefault(each.tariff.tariff_id, {})[each.id_token] = None
        for terms in self._terms():
            if terms.own:
                tokens.setdefault(terms.plan.id, {})[terms.id_token.id_token] = None
                places.setdefault(terms.plan.id, {})[terms.evse_id] = None
        return [
            ocpp.TariffAssignment(
                tariff_id=name,
                tariff_kind="DriverTariff",
                evse_ids=tuple(places.get(name, ())),
                id_tokens=tuple(each for each in drivers if each),
            )
            for name, drivers in tokens.items()
        ]


def description(tariff: ocpp.Tariff, languages: Iterable[str] = ()) -> str:
    """Return a tariff's description in the first of the languages that it has, else its first one."""
    texts = tariff.description
    mine = [each for language in languages for each in texts if same_language(each.language, language)]
    return next((each.content for each in (*mine, *texts)), "")
