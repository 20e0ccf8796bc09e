"""The vehicle's session of ISO 15118-2."""

from typing import Final

from msgspec.structs import replace

from evcc.session.contracts import Contract, Provisioning, ranked
from evcc.session.d2 import contract, installation, loop, parameters, services
from evcc.session.d2.stages import (
    KINDS,
    Confirming,
    Detailing,
    Disconnecting,
    FetchingContract,
    Lowering,
    PresentingContract,
    Renegotiating,
)
from evcc.session.d2.vocabulary import VOCABULARY
from evcc.session.paused import PausedSession
from evcc.session.ports import BatteryState, NeedsChanged, StopRequested
from evcc.session.settings import SessionConfig
from evcc.session.steps import Stage
from evcc.session.v2g_message import handlers, stages
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.handlers import Handlers, OnResponse
from evcc.session.v2g_message.session import MessageVehicle
from evcc.session.v2g_message.stages import Authorizing, Ending, Looping, Step
from evcc.session.v2g_message.stop import repeat_nothing
from v2g.exi.declare import Element
from v2g.iso15118.d2.charts import Family
from v2g.iso15118.d2.messages.common import SessionSetupReq
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d2.session import Session2
from v2g.iso15118.d2.timing import MESSAGES
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.session import Entropy
from v2g.pki.keys import SoftwareKey

PROTOCOL: Final = AppProtocol(
    protocol_namespace=ISO2.uri, version_number_major=2, version_number_minor=0, schema_id=1, priority=1
)
"""The edition in the handshake, where it is the only one."""


def _by_current(stage: Stage, request: Element, response: Element, context: MessageContext) -> Step:
    """Handle the response of the loop by the kind of current."""
    ac = context.choice is not None and context.choice.phases
    handle: OnResponse = loop.on_ac_loop if ac else loop.on_dc_loop
    return handle(stage, request, response, context)


class Vehicle2(MessageVehicle, Session2):
    """See MessageVehicle; its timers are those of `config.timers_2`.

    `tls` is whether the connection is, a condition for contracts, which `provisioning` may fetch. `resume` is `paused`
    of an earlier session; `price_signers` are certificates (DER) of permitted signers of tariffs beside the CAs of the
    contracts.
    """

    kinds = KINDS
    timing = MESSAGES
    vocabulary = VOCABULARY
    handlers = Handlers(
        {
            **handlers.ON_RESPONSE,
            stages.Discovering: services.on_services,
            Detailing: services.on_detail,
            stages.Selecting: services.on_selected,
            FetchingContract: installation.on_contract,
            PresentingContract: contract.on_details,
            stages.Parametrizing: parameters.on_parameters,
            stages.Looping: _by_current,
            stages.RampingDown: loop.on_ramping_down,
            Lowering: loop.on_lowering,
            Renegotiating: loop.on_renegotiating,
            Confirming: loop.on_confirmed,
        },
        {**handlers.ON_WAKE, stages.Looping: loop.repeat_loop, Lowering: repeat_nothing},
        {**handlers.ON_FACT, (Disconnecting, False): loop.on_disconnected},
    )

    def __init__(
        self,
        config: SessionConfig,
        *,
        battery: BatteryState,
        entropy: Entropy,
        protocols: tuple[AppProtocol, ...] = (PROTOCOL,),
        connected_for: float = 0.0,
        tls: bool = True,
        contracts: tuple[Contract, ...] = (),
        provisioning: Provisioning | None = None,
        price_signers: tuple[bytes, ...] = (),
        resume: PausedSession | None = None,
    ) -> None:
        super().__init__(
            config, config.timers_2, protocols, battery=battery, entropy=entropy, connected_for=connected_for
        )
        self.paused: PausedSession | None = None
        self._tls, self._contracts, self._provisioning = tls, contracts, provisioning
        self._price_signers = price_signers
        self._resume, self._joined, self._replan = resume, False, False

    def _on_start(self) -> None:
        super()._on_start()
        preferred = self._config.installation.prioritized_emaids
        self._contracts = ranked(self._contracts, self._time.utc_ms, preferred=preferred)

    def _context(self) -> MessageContext:
        return replace(
            super()._context(),
            resume=self._resume,
            joined=self._joined,
            replan=self._replan,
            contract=self._contracts[0] if self._contracts else None,
            contracts=self._contracts,
            provisioning=self._provisioning,
            price_signers=self._price_signers,
            tls=self._tls,
        )

    def _transmit(self, request: Element) -> None:
        if isinstance(request, SessionSetupReq) and self._resume is not None:
            self.session_id = self._resume.session_id
        super()._transmit(request)

    def _apply(self, step: Step) -> None:
        if step.choice is not None:
            self.family = Family.AC if step.choice.phases else Family.DC
        if step.joined and self._resume is not None:
            self._joined, self._progress = True, self._resume.progress
        if step.installed is not None:
            self._contracts = (Contract(step.installed.chain, SoftwareKey(step.installed.key)), *self._contracts)
            self._command(step.installed)
        super()._apply(step)

    def _enter(self, stage: Stage) -> None:
        if isinstance(stage, Lowering):
            self._replan = False
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
            self.paused = PausedSession(self.session_id, self._choice.mode.value, self._choice.contract, self._progress)
        super()._end(reason)
