"""The vehicle's stages that only ISO 15118-2 has."""

from typing import ClassVar, Final

from evcc.session.steps import Stage, StageKinds
from evcc.session.v2g_message import stages
from evcc.session.v2g_message.stages import Looping, Parametrizing
from v2g.iso15118.d2.messages.common import ServiceDiscoveryRes


class Detailing(Stage, frozen=True):
    """ServiceDetailRes of the service ContractCertificate; `services` is what the charger offers."""

    services: ServiceDiscoveryRes


class FetchingContract(Stage, frozen=True):
    """CertificateInstallationRes or CertificateUpdateRes."""


class PresentingContract(Stage, frozen=True):
    """PaymentDetailsRes."""


class Renegotiating(Stage, frozen=True):
    """PowerDeliveryRes to Renegotiate."""

    looping: Looping


class Disconnecting(Stage, frozen=True):
    """The contactor's state before the cable check of a renegotiation."""

    chain: ClassVar[str] = "contactor"


class Confirming(Stage, frozen=True):
    """MeteringReceiptRes."""

    looping: Looping


def _is_powered(stage: Stage) -> bool:
    if isinstance(stage, Parametrizing):
        return stage.again
    return isinstance(stage, Renegotiating | Disconnecting | Confirming) or stages.is_powered(stage)


KINDS: Final = StageKinds(stages.ENDING, stages.CLOSING, _is_powered)
