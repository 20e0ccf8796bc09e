"""A charger's requests to its CSMS while a vehicle waits: authorization, contract installation, charging needs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from secc.station_config import StationConfig
from v2g.energy.needs import EvNeeds
from v2g.errors import OcppError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.certificates import Get15118EVCertificateResponse
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.ev_charging import NotifyEVChargingNeedsResponse
from v2g_station.blocks.authorization import contracts
from v2g_station.blocks.evse import ContractPresented, TokenVerdict
from v2g_station.blocks.security.certificates import UNREACHABLE, ContractAnswer, ContractRequest, contract_answer
from v2g_station.blocks.smart_charging.ev_needs import lines_of, needs_request
from v2g_station.blocks.transactions.managed import ManagedSessions
from v2g_station.runner import StationRunner

RETRY_S: Final = 0.5
"""Real seconds between two attempts to fetch a contract."""


class CsmsRequests:
    """Sends requests over a station's connection; each has an outcome, even if the CSMS is unreachable."""

    def __init__(
        self,
        config: StationConfig,
        runner: StationRunner,
        sessions: ManagedSessions,
        clock: Clock,
        observe: Callable[[Observe], None],
    ) -> None:
        self._config, self._runner, self._sessions = config, runner, sessions
        self._clock, self._observe = clock, observe

    async def authorize(
        self, emaid: str, chain_der: Sequence[bytes], *, evse_id: int = 1, known_root: bool = True
    ) -> contracts.AuthorizeOutcome:
        """Ask whether a contract may charge; `chain_der` is leaf first, DER (C07). Without a `known_root` the charger
        could not validate it.

        Failures of the CSMS or the network do not raise: without an answer in time the outcome is `unreachable`, unless
        the CSMS lets the charger decide offline (ContractValidationOffline). At an EVSE reserved for another driver
        (H03), or out of service, the outcome is `refused`.
        """
        core = self._runner.core
        decided: asyncio.Future[tuple[contracts.AuthorizeOutcome, TokenVerdict]] = asyncio.Future()
        valid = True if known_root else None
        pem, hashes = contracts.describe_chain(chain_der)
        shown = ContractPresented(
            evse_id=evse_id, emaid=emaid, chain_pem=pem, hashes=hashes, locally_valid=valid,
            accept_unknown=self._config.accept_offline, within_s=self._config.authorize_timeout,
        )  # fmt: skip

        def decide(outcome: contracts.AuthorizeOutcome, verdict: TokenVerdict) -> None:
            if not decided.done():
                decided.set_result((outcome, verdict))

        self._runner.step(lambda moment: core.judge_contract(shown, decide, moment))
        try:
            async with asyncio.timeout(self._config.authorize_timeout):  # also where others are before it
                outcome, verdict = await decided
        except TimeoutError:
            self._note("authorize_failed", reason="no answer in time")
            outcome, verdict = core.authorizer.contract_offline(shown)
        if verdict.accepted and not self._may_use(evse_id, contracts.contract_token(emaid), verdict):
            outcome = replace(outcome, decision=contracts.AuthorizationStatus.REFUSED)
        self._note("authorized", decision=outcome.decision, status=outcome.status)
        return outcome

    async def fetch_contract(self, request: ContractRequest) -> ContractAnswer:
        """Request a contract for a vehicle (M01) until its time is over; wait for the connection, and retry where that
        may help.

        Failures of the CSMS or the network do not raise. If a response is lost, the CSMS answers the repeated request
        with the next contract (M01.FR.07); the vehicle gets the lost one with its next request.
        """
        clock, runner, longest_s = self._clock, self._runner, self._config.message_timeout
        deadline = clock.monotonic() + min(self._config.installation_timeout, request.within_s)
        attempt = 0
        while (rest := deadline - clock.monotonic()) > 0:
            attempt += 1
            try:
                async with asyncio.timeout(rest):
                    await runner.online.wait()
                rest = max(0.1, deadline - clock.monotonic())
                message = request.message(runner.version)
                answer = await runner.call(message, Get15118EVCertificateResponse, timeout=min(rest, longest_s))
            except TimeoutError:
                break
            except V2GError as error:
                code = error.answer if isinstance(error, OcppError) else type(error).__name__
                self._note("contract_request_failed", attempt=attempt, code=code, reason=str(error)[:200])
                if isinstance(error, OcppError) and code != "InternalError":
                    return ContractAnswer(status="failed")
            else:
                info = answer.status_info
                reason = info.reason_code if info else ""
                self._note("contract_answered", status=answer.status, reason=reason, attempt=attempt)
                return contract_answer(answer)
            await asyncio.sleep(min(RETRY_S, max(0.0, deadline - clock.monotonic())))
        return UNREACHABLE

    async def attest(self, evidence: Mapping[str, object]) -> None:
        """Send evidence that the charger is whole (R148), or why there is none. Failures do not raise: the CSMS asks
        again."""
        request = DataTransferRequest(vendor_id=VENDOR, message_id="AttestationEvidence", data=dict(evidence))
        try:
            answer = await self._runner.call(request, DataTransferResponse)
            word = answer.status_info.reason_code if answer.status_info else answer.status
        except OcppError as error:
            word = error.answer
        except V2GError as error:
            word = str(error)[:100]
        self._note("evidence_sent", status=word)

    async def charging_needs(self, needs: EvNeeds, *, evse_id: int = 1) -> str:
        """Send the vehicle's charging needs (K15); return the CSMS's status, "" if it could not be asked."""
        self._runner.core.evses[evse_id].lines = lines_of(needs)
        if not self._runner.online.is_set():
            return ""
        request = needs_request(evse_id, needs, self._clock.utc_ms(), self._runner.version)
        try:
            answer = await self._runner.call(request, NotifyEVChargingNeedsResponse)
        except V2GError as error:
            self._note("charging_needs_failed", reason=str(error)[:200])
            return ""
        if answer.status == "Rejected" and (needs.older or self._runner.version == "2.0.1"):
            return "NoChargingProfile"  # that no schedule follows (K15.FR.04), not that the transfer is refused
        return answer.status

    def _may_use(self, evse_id: int, id_token: IdToken, verdict: TokenVerdict) -> bool:
        """Return whether a driver may charge here, at an EVSE that is in service, and free or reserved for them."""
        core = self._runner.core
        evse = core.evses[evse_id]
        _, reservation = core.authorizer.usable(evse, id_token, verdict.group)
        self._sessions.admitted[evse_id] = reservation, verdict.group
        return core.authorizer.fits(evse, id_token, verdict)

    def _note(self, name: str, **data: Scalar) -> None:
        self._observe(Observe("ocpp", name, data))
