"""The vehicle's session of ISO 15118-2."""

from typing import Final

from msgspec.structs import replace

from evcc.session.context import EvseLimits
from evcc.session.contracts import RETRY_MS, Contract, is_pending, ranked, signing, usable
from evcc.session.d2 import installation, loop, services  # noqa: F401 - handlers register themselves
from evcc.session.d2.stages import HANDLERS, KINDS, Lowering
from evcc.session.d2.vocabulary import VOCABULARY
from evcc.session.edition import Connection
from evcc.session.paused import PausedSession
from evcc.session.ports import NeedsChanged, RefuseContract, SetCpState, StopRequested
from evcc.session.settings import SessionConfig
from evcc.session.steps import Stage, seen
from evcc.session.v2g_message import energy
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.loop import wanted_end
from evcc.session.v2g_message.safety import V2gMessages
from evcc.session.v2g_message.session import MessageVehicle
from evcc.session.v2g_message.stages import Authorizing, Ending, Looping, Parametrizing, Starting, Step, fail
from evcc.session.v2g_message.stop import stop
from v2g.exi.declare import Element
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2.charts import Family, Session2
from v2g.iso15118.d2.messages.common import (
    ChargeParameterDiscoveryReq,
    ChargeParameterDiscoveryRes,
    PaymentDetailsReq,
    SessionSetupReq,
)
from v2g.iso15118.d2.messages.data_types import AC_EVSEChargeParameter, EVSEProcessing
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d2.timing import MESSAGES
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.physical_values import milliamperes, millivolts
from v2g.iso15118.engine.signature import EDITION_2
from v2g.pki.keys import SoftwareKey
from v2g.safety.output import UNBOUNDED

# -- The charge parameters of ISO 15118-2: with alternating current energy begins at once after them


@HANDLERS.on_response(Parametrizing)
def on_parameters(
    stage: Parametrizing,
    request: ChargeParameterDiscoveryReq,
    response: ChargeParameterDiscoveryRes,
    context: MessageContext,
) -> Step:
    """Wait for limits and schedule; then check the cable, or with alternating current start energy."""
    if context.choice is None or not context.choice.phases:
        return energy.on_parameters(stage, request, response, context)
    parameter = response.evse_charge_parameter
    if not isinstance(parameter, AC_EVSEChargeParameter):
        return fail(stage, "wrong_charge_parameters", received=type(parameter).__name__)
    ending = wanted_end(parameter.ac_evse_status)
    if ending is not None:
        return stop(stage, context, ending)
    if response.evse_processing is not EVSEProcessing.Finished:
        return Step(stage=replace(stage, polls=stage.polls + 1), wait=context.config.timing.poll_pause_s)
    limits = EvseLimits(
        charge_w=UNBOUNDED,
        charge_ma=max(0, milliamperes(parameter.evse_max_current)),
        voltage_mv=max(0, millivolts(parameter.evse_nominal_voltage)),
    )
    exchanged = seen(
        "parameters",
        "exchanged",
        evse_charge_w=context.choice.phases * limits.charge_ma * limits.voltage_mv // 1_000_000,
        ev_charge_w=context.max_charge_w,
        soc=context.battery.soc,
    )
    plan, observed = context.vocabulary.agree(response, limits, context)
    return Step(
        stage=Starting(plan),
        request=context.vocabulary.power_start(plan, context),
        then=() if stage.again else (SetCpState(PilotState.C),),  # within 250 ms after the request [V2G2-847]
        observed=(exchanged, *observed, energy.agreed_event(plan, context)),
    )


PROTOCOL: Final = AppProtocol(
    protocol_namespace=ISO2.uri, version_number_major=2, version_number_minor=0, schema_id=1, priority=1
)
"""The edition in the handshake, where it is the only one."""


_OF_THE_CONTRACT: Final = frozenset({
    "FAILED_CertificateExpired", "FAILED_CertChainError", "FAILED_NoCertificateAvailable", "FAILED_CertificateRevoked",
    "FAILED_CertificateNotAllowedAtThisEVSE", "FAILED_ContractCanceled",
})  # fmt: skip
"""What PaymentDetailsRes says against a contract: in ISO 15118-2 it ends the session, and the next one is to charge."""


class Vehicle2(MessageVehicle, Session2):
    """See MessageVehicle; its timers are those of `config.timers_2`.

    TLS is a condition for contracts, which `provisioning` may fetch.
    """

    kinds = KINDS
    timing = MESSAGES
    vocabulary = VOCABULARY
    handlers = HANDLERS

    def __init__(
        self,
        config: SessionConfig,
        connection: Connection,
        protocols: tuple[AppProtocol, ...] = (PROTOCOL,),
        connected_for: float = 0.0,
    ) -> None:
        super().__init__(config, config.timers_2, connection, protocols, connected_for)
        self.paused: PausedSession | None = None
        self._tls, self._price_signers = bool(connection.secc_certificate), connection.price_signers
        self._contracts, self._provisioning = signing(connection.contracts, EDITION_2), connection.provisioning
        self._refusals = connection.refused
        self._refused: frozenset[bytes] = frozenset()
        self._resume = connection.resume if isinstance(connection.resume, PausedSession) else None
        self._joined = self._replan = False
        self._renegotiated_ms: int | None = None

    def _on_start(self) -> None:
        super()._on_start()
        preferred = self._config.installation.prioritized_emaids
        utc_ms = self._time.utc_ms
        refused = {leaf for leaf, until_ms in self._refusals.items() if is_pending(until_ms, utc_ms)}
        found = ranked(self._contracts, utc_ms, preferred=preferred)
        good = {each.chain[0] for each in usable(found, utc_ms)} - refused
        self._contracts = tuple(sorted(found, key=lambda each: each.chain[0] not in good))
        self._refused = frozenset(refused)

    def _context(self) -> MessageContext:
        return replace(
            super()._context(),
            resume=self._resume,
            joined=self._joined,
            replan=self._replan,
            renegotiated_ms=self._renegotiated_ms,
            contract=self._contracts[0] if self._contracts else None,
            contracts=self._contracts,
            refused=self._refused,
            provisioning=self._provisioning,
            price_signers=self._price_signers,
            tls=self._tls,
        )

    def _transmit(self, request: Element) -> None:
        if isinstance(request, SessionSetupReq) and self._resume is not None:
            self.session_id = self._resume.session_id
        if isinstance(request, ChargeParameterDiscoveryReq):  # it has the present needs
            self._replan = False
        super()._transmit(request)

    def _apply(self, step: Step) -> None:
        if step.choice is not None:
            self.family = Family.AC if step.choice.phases else Family.DC
        if step.joined and self._resume is not None:
            self._joined, leaf = True, self._resume.leaf
            self._contracts = tuple(sorted(self._contracts, key=lambda each: each.chain[0] != leaf))
            self._take_up(self._resume)
        if step.installed is not None:
            self._contracts = (Contract(step.installed.chain, SoftwareKey(step.installed.key)), *self._contracts)
            self._command(step.installed)
        super()._apply(step)

    def _on_refusal(self, request: Element, code: str) -> None:
        if isinstance(request, PaymentDetailsReq) and code in _OF_THE_CONTRACT:
            self._command(RefuseContract(self._contracts[0].chain[0], self._time.utc_ms + RETRY_MS))

    def _enter(self, stage: Stage) -> None:
        if isinstance(stage, Lowering) and not isinstance(self.stage, Lowering):
            self._renegotiated_ms = self._time.utc_ms - self._time.set_ms
        super()._enter(stage)

    def _ongoing_s(self, stage: Stage) -> float | None:
        if isinstance(stage, Authorizing) and stage.customer:
            return self._config.timers_2.evcc_customer
        return super()._ongoing_s(stage)

    def _take_needs(self, fact: NeedsChanged) -> None:
        """Set new needs; the loop asks for a schedule that fits them."""
        super()._take_needs(fact)
        self._replan = True
        if isinstance(self.stage, Looping):
            self._resume_pause(Step(stage=self.stage, wait=0.0))

    def _is_ac(self) -> bool:
        return self.family is Family.AC

    def _ending(self, cause: str | StopRequested) -> Ending:
        if isinstance(cause, StopRequested) and cause.pause:
            return Ending(cause.reason, pause=True)
        return super()._ending(cause)

    def _end(self, reason: str) -> None:
        if reason == "paused" and self._choice is not None:
            pays, kept = self._choice.contract, self._kept()
            leaf = self._contracts[0].chain[0] if pays else b""
            self.paused = PausedSession(self.session_id, self._choice.mode.value, pays, leaf=leaf, **kept)
        super()._end(reason)


# -- ISO 15118-2 as a vehicle offers it: see `evcc.session.edition.Edition`


class Iso2:
    """See Edition."""

    session = Vehicle2

    def protocols(self, config: SessionConfig, *, tls: bool) -> tuple[AppProtocol, ...]:
        """See Edition. A vehicle with a plug offers it; without TLS only external payment is left [V2G2-828]."""
        plugged = any(each in ("DC", "DC_BPT", "AC", "AC_BPT") for each in config.services.energy)
        payable = tls or config.authorization.allow_eim or config.authorization.prefer_eim
        return (PROTOCOL,) if plugged and payable else ()

    def reader(self, config: SessionConfig) -> V2gMessages:
        return V2gMessages(config, config.timers_2, ISO2)
