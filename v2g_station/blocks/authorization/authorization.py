"""Who may start and stop a transaction (functional block C): by the CSMS, the local list or the cache."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from msgspec.structs import asdict, replace

from v2g.errors import TimeoutExpired
from v2g.observe import Callbacks
from v2g.ocpp.messages.authorization import AuthorizeRequest, AuthorizeResponse, IdToken
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse
from v2g_station.blocks.authorization.cache import Cache, CachedToken, known
from v2g_station.blocks.authorization.contracts import (
    CHARGING_ONLY,
    AuthorizationStatus,
    AuthorizeOutcome,
    allowed_energy_transfer,
    authorize_outcome,
    authorize_request,
    contract_token,
    decision_of,
)
from v2g_station.blocks.authorization.local_list import LocalAuthorizationList
from v2g_station.blocks.evse import (
    Authorization,
    ContractPresented,
    Evse,
    Indicate,
    NoticeWord,
    StopButton,
    TokenPresented,
    TokenVerdict,
    VehicleAddress,
)
from v2g_station.blocks.identifiers import is_same_group, same
from v2g_station.blocks.reservation import Reservations
from v2g_station.blocks.transactions.sessions import NO_AUTHORIZATION, FunctionalBlock, Shared
from v2g_station.blocks.web_payment import WebPayments
from v2g_station.kernel.kernel import Answer
from v2g_station.kernel.layout import V2X


class _Floating(NamedTuple):
    """An identifier that is accepted, and waits for a plug."""

    id_token: IdToken
    verdict: TokenVerdict


def _verdict(found: CachedToken) -> TokenVerdict:
    """Return what is known of an identifier, from the local list, the cache or the CSMS, as a result (C10.FR.14)."""
    return TokenVerdict(
        accepted=found.status == "Accepted", group=found.group, evse_ids=found.evse_ids, message=found.message,
        languages=tuple(filter(None, (found.language, found.language2))), energy_transfer=found.energy_transfer,
    )  # fmt: skip


REFUSED = TokenVerdict(accepted=False)

_ADDRESS: Final = "MacAddress"
"""Type of the identifier that a vehicle announces by itself."""


class Authorizer(FunctionalBlock):
    """Authorizes identifiers at all EVSEs."""

    def __init__(
        self,
        shared: Shared,
        cache: Cache,
        local_list: LocalAuthorizationList,
        reservations: Reservations,
        web_payments: WebPayments,
    ) -> None:
        super().__init__(shared)
        self._cache = cache
        self._list = local_list
        self._reservations = reservations
        self._web_payments = web_payments
        self._floating: _Floating | None = None
        self._vehicles: dict[int, VehicleAddress] = {}
        """EVSE -> the vehicle that has come or left there last."""
        self.on_floating: Final = Callbacks[[]]()
        """Called when the authorization that waits for a plug changes or is gone."""

    def usable(self, evse: Evse, id_token: IdToken, group: str | None) -> tuple[bool, int | None]:
        """Return whether a member of a group may use an EVSE, and by which reservation (H03, C25.FR.22)."""
        allowed, reservation = self._reservations.usable(evse, id_token, group)
        return allowed and not self._web_payments.is_paying(evse.number), reservation

    # -- identification

    def token(self, fact: TokenPresented) -> None:
        """Handle a presented identifier: it ends the transaction it started, or starts one."""
        if fact.evse_id is not None:
            chosen = self._evses.get(fact.evse_id)
            candidates = [chosen] if chosen is not None else []
        else:
            candidates = list(self._evses.values())
        running = self._running(candidates)
        for evse, driver in running:
            if same(driver.id_token, fact.id_token):
                self._stop(evse, fact.id_token)  # E07.FR.01
                return
        for evse in candidates:
            owned = evse.owner is not None and same(evse.owner, fact.id_token)
            if owned and any(connector.locked for connector in evse.connectors):
                self._sessions.unlock(evse)  # held for its owner (E05.FR.11, E09.FR.03, E10.FR.01)
                return
        if running and len(running) == len(candidates):
            self._other_token(fact, candidates)
            return
        self._begin(fact, candidates)

    def _running(self, evses: Iterable[Evse]) -> list[tuple[Evse, Authorization]]:
        """Return those of these EVSEs that have a driver."""
        return [(evse, driver) for evse in evses if (driver := self._sessions.driver(evse)) is not None]

    def stop_button(self, fact: StopButton) -> None:
        """Handle the stop button: the driver ends without identification (E07.FR.04)."""
        evse = self._evses[fact.evse_id]
        if not self._sessions.is_free(evse):
            self._sessions.end_authorization(evse, "StopAuthorized", "Local")

    def plugged(self, evse: Evse) -> None:
        """Authorize an EVSE for the identifier that waits for a plug."""
        if evse.plugged is None:
            return
        self.seat(evse)
        required = self._k.model.flag("AuthCtrlr.Enabled")
        if evse.authorization is None and not required and self.usable(evse, NO_AUTHORIZATION, None)[0]:
            self._grant(evse, NO_AUTHORIZATION, TokenVerdict(accepted=True))  # C02: no identification needed

    def seat(self, evse: Evse) -> None:
        """Authorize an EVSE for the identifier that waits for a plug, if one does that may use it."""
        found = self._floating
        if found is not None and self.permits(evse, found.id_token, found.verdict):
            self._floating = None
            self._k.cancel("authorization.floating")
            self._grant(evse, found.id_token, found.verdict)

    def _stop(self, evse: Evse, id_token: IdToken) -> None:
        self._sessions.end_authorization(evse, "StopAuthorized", "Local", id_token)

    def _other_token(self, fact: TokenPresented, candidates: list[Evse]) -> None:
        """Handle another identifier during a transaction: of the same group, a master pass, or neither (C09, C16)."""
        # what is known locally; the list comes before the cache (C13.FR.01, C14.FR.01)
        found = self._list.find(fact.id_token) or self._cache.find(fact.id_token)
        if found is not None and found.status == "Accepted" and self._end_by_group(fact, candidates, found.group):
            return  # C09.FR.04, .07

        def decided(verdict: TokenVerdict) -> None:
            if not (verdict.accepted and self._end_by_group(fact, candidates, verdict.group)):  # C09.FR.11
                self._show(fact.evse_id, "rejected")

        self.ask(fact.id_token, decided)  # C09.FR.05

    def _end_by_group(self, fact: TokenPresented, candidates: list[Evse], group: str | None) -> bool:
        """End what an identifier of this group may end; return whether it may."""
        if self._is_master(group):
            self._master_pass(fact)
            return True
        running = self._running(candidates)  # now: the CSMS has taken its time
        found = next((evse for evse, driver in running if is_same_group(driver.group, group)), None)
        if found is not None:
            self._stop(found, fact.id_token)
        return found is not None

    def _master_pass(self, fact: TokenPresented) -> None:
        """End transactions for the holder of the master pass, who starts none (C16)."""
        running = self._running(self._evses.values())
        ending = [evse for evse, _ in running if not fact.chosen or evse.number in fact.chosen]
        for evse in ending:
            self._sessions.end_authorization(evse, "StopAuthorized", "MasterPass", fact.id_token)
        if not ending:
            self._show(fact.evse_id, "rejected")

    def _is_master(self, group: str | None) -> bool:
        return is_same_group(group, self._k.model.text("AuthCtrlr.MasterPassGroupId"))

    # -- start

    def _begin(self, fact: TokenPresented, candidates: list[Evse]) -> None:
        evse = self._place(candidates) if fact.evse_id is None else candidates[0] if candidates else None
        if evse is None and not any(each.free for each in candidates):
            self._show(fact.evse_id, "no_evse")
            return
        if evse is not None:
            if evse.asking is not None:
                return
            evse.asking = fact.id_token

        def decided(verdict: TokenVerdict) -> None:
            if evse is not None:
                evse.asking = None
            if verdict.accepted and self._is_master(verdict.group):
                self._master_pass(fact)  # C12.FR.09, C16.FR.03
            elif evse is not None:
                self._decide(evse, fact.id_token, verdict)
            else:
                self._float(fact.id_token, verdict)

        self.judge(fact.id_token, decided)

    def _place(self, candidates: list[Evse]) -> Evse | None:
        """Return the EVSE meant at a common reader: where a vehicle waits, or the only one."""
        open_ = [evse for evse in candidates if self._sessions.is_free(evse)]
        waiting = [evse for evse in open_ if evse.plugged is not None]
        if waiting:
            return waiting[0]
        return open_[0] if len(open_) == 1 else None

    def _float(self, id_token: IdToken, verdict: TokenVerdict) -> None:
        """Remember an authorization until its driver plugs in somewhere."""
        if not verdict.accepted or self._is_master(verdict.group):
            self._reject(None, verdict)
            return
        self._wait_for(_Floating(id_token, verdict))
        self._show(None, "plug_in")
        timeout = self._k.model.number("TxCtrlr.EVConnectionTimeOut")
        self._k.after("authorization.floating", timeout, self._expire_floating)

    def _wait_for(self, found: _Floating | None) -> None:
        self._floating = found
        self.on_floating.tell()

    def _expire_floating(self) -> None:
        self._wait_for(None)
        self._show(None, "timeout")

    def _decide(self, evse: Evse, id_token: IdToken, verdict: TokenVerdict) -> None:
        if self.permits(evse, id_token, verdict):
            self._grant(evse, id_token, verdict)
        else:
            self._reject(evse.number, verdict)

    def permits(self, evse: Evse, id_token: IdToken, verdict: TokenVerdict) -> bool:
        """Return whether an identifier with this verdict may start at an EVSE now."""
        return self._sessions.is_free(evse) and self.fits(evse, id_token, verdict)

    def fits(self, evse: Evse, id_token: IdToken, verdict: TokenVerdict) -> bool:
        """Return whether an identifier with this verdict may charge at this EVSE (C16.FR.03: no master pass)."""
        allowed, _ = self.usable(evse, id_token, verdict.group)
        here = not verdict.evse_ids or evse.number in verdict.evse_ids
        return verdict.accepted and not self._is_master(verdict.group) and here and allowed

    def _grant(self, evse: Evse, id_token: IdToken, verdict: TokenVerdict) -> None:
        _, reservation = self.usable(evse, id_token, verdict.group)
        verdict = replace(verdict, energy_transfer=self.permitted(verdict.energy_transfer))
        found = Authorization(**asdict(verdict), id_token=id_token, reservation_id=reservation)
        self._show(evse.number, "accepted")
        self._sessions.authorize(evse, found)

    def permitted(self, modes: tuple[str, ...]) -> tuple[str, ...]:
        """Return the energy transfer modes among these (empty: all) that are turned on: without V2X, charging only."""
        if self._k.model.flag(V2X):
            return modes
        return tuple(each for each in modes if each in CHARGING_ONLY) or CHARGING_ONLY

    # -- payments

    def admit(self, evse_id: int | None, id_token: IdToken, verdict: TokenVerdict) -> None:
        """Apply an authorization decided elsewhere; without an EVSE it waits for a plug."""
        evse = self._evses.get(evse_id) if evse_id is not None else self._place(list(self._evses.values()))
        if evse is not None:
            self._decide(evse, id_token, verdict)
        else:
            self._float(id_token, verdict)

    def holder(self, id_token: IdToken) -> Evse | None:
        """Return the EVSE that an identifier is authorized for."""
        running = self._running(self._evses.values())
        return next((evse for evse, driver in running if same(driver.id_token, id_token)), None)

    def awaits(self, id_token: IdToken) -> bool:
        """Return whether an identifier is authorized and waits for a plug."""
        return self._floating is not None and same(self._floating.id_token, id_token)

    def let_go(self, id_token: IdToken) -> None:
        """End the authorization of an identifier (E07)."""
        evse = self.holder(id_token)
        if evse is not None:
            self._stop(evse, id_token)
        elif self.awaits(id_token):
            self._k.cancel("authorization.floating")
            self._wait_for(None)

    # -- checks

    @property
    def _may_begin(self) -> bool:
        """Whether transactions may begin before the CSMS has accepted the station (B02, B03), or it has."""
        return self._k.registration == "Accepted" or self._k.model.flag("TxCtrlr.TxBeforeAcceptedEnabled")

    def judge(self, id_token: IdToken, then: Callable[[TokenVerdict], None]) -> None:
        """Check whether an identifier may charge."""
        model = self._k.model
        if not self._may_begin:
            then(REFUSED)
            return
        listed = self._list.find(id_token)
        found = listed or self._cache.find(id_token)
        if not self._k.online:
            then(self._offline(id_token, found))
            return
        if found is not None and model.flag("AuthCtrlr.LocalPreAuthorize"):
            if found.status == "Accepted":  # C12.FR.02, C14.FR.02, .04
                then(_verdict(found))
                return
            controller = "LocalAuthListCtrlr" if listed is not None else "AuthCacheCtrlr"
            if model.flag(f"{controller}.DisablePostAuthorize"):
                then(REFUSED)
                return
        if model.flag("AuthCtrlr.DisableRemoteAuthorization"):
            then(_verdict(found) if found is not None else REFUSED)
            return

        self.ask(id_token, then, lambda: self._offline(id_token, found))

    def ask(
        self,
        id_token: IdToken,
        then: Callable[[TokenVerdict], None],
        away: Callable[[], TokenVerdict] = lambda: REFUSED,
    ) -> None:
        """Ask the CSMS whether an identifier may charge (C01, C18.FR.04); `away` decides when it is unreachable."""

        def answered(answer: Answer) -> None:
            if isinstance(answer, AuthorizeResponse):
                info = answer.id_token_info
                allowed = allowed_energy_transfer(answer, self._k.version)
                self._cache.learn(id_token, info, authorized=True, energy_transfer=allowed)  # C10.FR.04
                then(replace(_verdict(known(info, self._k.utc_ms)), energy_transfer=allowed))
            elif not self._k.online:
                then(away())
            else:
                then(REFUSED)

        self._k.call(AuthorizeRequest(id_token=id_token), answered)

    def _offline(self, id_token: IdToken, found: CachedToken | None, *, accept_unknown: bool = False) -> TokenVerdict:
        """Decide without the CSMS (C13, C15)."""
        model = self._k.model
        if found is not None and model.flag("AuthCtrlr.LocalAuthorizeOffline"):
            return _verdict(found)
        accepting = accept_unknown or model.flag("AuthCtrlr.OfflineTxForUnknownIdEnabled")
        unknown = found is None and not self._list.has(id_token)  # nor is one whose entry has expired (C13.FR.06)
        presented = id_token.type not in ("NoAuthorization", _ADDRESS)  # every vehicle has an address
        return TokenVerdict(accepted=accepting and unknown and presented)  # C15.FR.08

    # -- the vehicle's own identifiers

    def vehicle(self, fact: VehicleAddress) -> None:
        """Check the address of a vehicle that waits for identification (Autocharge), or forget it when it has left.

        It may start a transaction, and ends none. A refusal is not shown: the driver may still present a card.
        """
        evse = self._evses[fact.evse_id]
        self._vehicles[evse.number] = fact
        found = evse.authorization  # a transaction without one is of a session before this one
        if not fact.mac_address:
            if found is not None and found.id_token.type == _ADDRESS and evse.record is None:
                self._stop(evse, found.id_token)  # it is for this vehicle, not for the next
            return
        if found is not None:
            return
        token = IdToken(id_token=fact.mac_address, type=_ADDRESS)

        def decided(verdict: TokenVerdict) -> None:
            here = self._vehicles[evse.number] is fact
            if here and evse.authorization is None and self.fits(evse, token, verdict):
                self._grant(evse, token, verdict)

        self.judge(token, decided)

    def contract(self, fact: ContractPresented) -> None:
        """Authorize a vehicle's contract (C07)."""
        evse = self._evses[fact.evse_id]
        if evse.authorization is not None:
            self._show(evse.number, "rejected")
            return
        token = contract_token(fact.emaid)
        self.judge_contract(fact, lambda _outcome, verdict: self._decide(evse, token, verdict))

    def judge_contract(self, fact: ContractPresented, then: Callable[[AuthorizeOutcome, TokenVerdict], None]) -> None:
        """Check whether a vehicle's contract may charge (C07); `then` gets what the CSMS says, and what follows."""
        model, valid = self._k.model, fact.locally_valid
        if not model.flag("ISO15118Ctrlr.PnCEnabled"):
            then(AuthorizeOutcome(decision=AuthorizationStatus.REFUSED), REFUSED)
            return
        if not self._k.online:
            then(*self.contract_offline(fact))
            return
        central = model.flag("ISO15118Ctrlr.CentralContractValidationAllowed")
        if valid is False or (valid is None and not central):  # C07.FR.06
            then(AuthorizeOutcome(decision=AuthorizationStatus.CERTIFICATE_INVALID), REFUSED)
            return
        token = contract_token(fact.emaid)
        request = authorize_request(fact.emaid, fact.chain_pem if central else "", fact.hashes, self._k.version)

        def answered(answer: Answer) -> None:
            if isinstance(answer, AuthorizeResponse):
                outcome = authorize_outcome(answer, self._k.version, validated=valid is True)
                info, modes = answer.id_token_info, outcome.energy_transfer
                outcome = replace(outcome, energy_transfer=self.permitted(modes))
                self._cache.learn(token, info, authorized=True, energy_transfer=modes)
                accepted = outcome.decision is AuthorizationStatus.ACCEPTED
                verdict = _verdict(known(info, self._k.utc_ms))
                then(outcome, replace(verdict, accepted=accepted, energy_transfer=modes))
                return
            self._k.note("authorize_failed", reason=str(answer)[:200])
            if self._k.online and not isinstance(answer, TimeoutExpired):  # it has answered
                then(AuthorizeOutcome(decision=AuthorizationStatus.UNREACHABLE), REFUSED)
            else:
                then(*self.contract_offline(fact))

        self._k.call(request, answered, timeout=fact.within_s)

    def contract_offline(self, fact: ContractPresented) -> tuple[AuthorizeOutcome, TokenVerdict]:
        """Decide on a contract without the CSMS (C07.FR.07 to .12)."""
        verdict, permitted = REFUSED, self._k.model.flag("ISO15118Ctrlr.ContractValidationOffline")
        found: CachedToken | None = None
        if fact.locally_valid and permitted and self._may_begin:
            token = contract_token(fact.emaid)
            found = self._list.find(token) or self._cache.find(token)
            verdict = self._offline(token, found, accept_unknown=fact.accept_unknown)
        if found is not None and found.status != "Accepted":
            return AuthorizeOutcome(decision=decision_of(found.status), status=found.status), verdict
        decision = AuthorizationStatus.ACCEPTED if verdict.accepted else AuthorizationStatus.UNREACHABLE
        return AuthorizeOutcome(decision=decision, energy_transfer=self.permitted(verdict.energy_transfer)), verdict

    # -- later status from the CSMS

    def event_answered(self, request: Message, answer: Answer) -> None:
        """Apply the CSMS's idTokenInfo for a transaction event (C10.FR.05, E05)."""
        info = answer.id_token_info if isinstance(answer, TransactionEventResponse) else None
        if info is None:
            return
        assert isinstance(request, TransactionEventRequest)
        evse = self._sessions.find(request.transaction_info.transaction_id)
        if request.id_token is not None:
            self._cache.learn(request.id_token, info)
        if evse is not None and info.status != "Accepted":
            self._sessions.invalid(evse)

    def _show(self, evse_id: int | None, word: NoticeWord) -> None:
        self._k.do(Indicate(evse_id=evse_id, word=word))

    def _reject(self, evse_id: int | None, verdict: TokenVerdict) -> None:
        """Show a refusal, with the message of the CSMS where it is its own: one for whom it accepts is no reason."""
        message = "" if verdict.accepted else verdict.message
        self._k.do(Indicate(evse_id=evse_id, word="rejected", message=message))
