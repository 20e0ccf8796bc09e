"""The vehicle's stages that only ISO 15118-2 has."""

from typing import ClassVar, Final

from evcc.session.steps import Handlers, LeavingLoop, Stage, StageKinds
from evcc.session.v2g_message import stages
from evcc.session.v2g_message.context import COMMON
from evcc.session.v2g_message.stages import Ending, Looping, Parametrizing, RampingDown
from v2g.iso15118.d2.messages.common import ServiceDiscoveryRes
from v2g.iso15118.d2.messages.data_types import SelectedService


class Detailing(Stage, frozen=True):
    """ServiceDetailRes of a value-added service; `services` is what the charger offers.

    `further` are the services to examine after it; `fetch` and `added` are what is selected so far: the parameter set
    of ContractCertificate, and other services.
    """

    services: ServiceDiscoveryRes
    further: tuple[int, ...]
    fetch: int | None = None
    added: tuple[SelectedService, ...] = ()


class FetchingContract(Stage, frozen=True):
    """CertificateInstallationRes or CertificateUpdateRes."""


class PresentingContract(Stage, frozen=True):
    """PaymentDetailsRes."""


class Lowering(LeavingLoop[Looping], frozen=True):
    """See its base: before a renegotiation."""


class Renegotiating(Stage, frozen=True):
    """PowerDeliveryRes to Renegotiate."""

    looping: Looping


class Disconnecting(Stage, frozen=True):
    """The contactor's state before the cable check of a renegotiation."""

    chain: ClassVar[str] = "contactor"


class Confirming(Stage, frozen=True):
    """MeteringReceiptRes; with `ending` the session ends afterwards, or it `renegotiates`."""

    looping: Looping | RampingDown
    ending: Ending | None = None
    renegotiates: bool = False


def _is_powered(stage: Stage) -> bool:
    if isinstance(stage, Parametrizing):
        return stage.again
    return isinstance(stage, Lowering | Renegotiating | Disconnecting | Confirming) or stages.is_powered(stage)


KINDS: Final = StageKinds(stages.ENDING, stages.CLOSING, _is_powered)

HANDLERS: Final = Handlers(COMMON)
