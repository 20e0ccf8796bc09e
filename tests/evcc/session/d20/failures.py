"""What several tests of failures use."""

import msgspec

from tests.evcc.session.bench import SHORT, Bench, Identities
from v2g.iso15118.d20.messages.common_types import EvseNotification
from v2g.iso15118.d20.timing import MESSAGES

_ELSEWHERE = ("AC_", "WPT_", "ACDP_", "VehicleCheck", "CertificateInstallation")
STAGES = [name for name in MESSAGES if not name.startswith(_ELSEWHERE)]
"""The request that each stage has sent; PowerDeliveryReq stands for Start here."""


def reach(identities: Identities, name: str) -> Bench:
    """Return a bench whose session has sent that request and awaits the answer."""
    in_line = msgspec.structs.replace(SHORT.services, confirm_beside=False)  # a stage of its own, unlike beside
    bench = Bench(identities, msgspec.structs.replace(SHORT, services=in_line), scale=20)
    if name == "MeteringConfirmationReq":
        bench.run_to("DC_ChargeLoopReq")
        bench.charger.notify = [EvseNotification.MeteringConfirmation]
    bench.run_to(name)
    return bench
