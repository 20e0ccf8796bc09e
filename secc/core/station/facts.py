"""What the hardware tells, and which block it concerns."""

from collections.abc import Callable
from typing import Any

from secc.core.station.blocks import Blocks
from secc.core.station.der import GridEvent
from secc.core.station.diagnostics import LogProgress
from secc.core.station.evse import Bay, Contract, Fact, Power, Signature, StopButton, Token, Unlocked
from secc.core.station.external_limits import ExternalLimit
from secc.core.station.firmware import FirmwareProgress
from secc.core.station.load_balancing import UpstreamLoad
from secc.core.station.local_cost import TariffRefused
from secc.core.station.priority import PriorityWish
from secc.core.station.publishing import Fetched, PublishProgress
from secc.core.station.resumption import Restarted
from secc.core.station.signing import CertificateTaken, RequestMade
from secc.core.station.smart_charging import SleepRefused
from secc.core.station.transaction_limits import DriverLimit
from secc.core.station.web_payment import PaymentWish


def takers(blocks: Blocks) -> dict[type[Fact], Callable[[Any], None]]:
    """Return who takes what, of the facts that concern one block alone."""
    return {
        Token: blocks.authorizer.token,
        Contract: blocks.authorizer.contract,
        StopButton: blocks.authorizer.stop_button,
        Power: blocks.sessions.power,
        Bay: blocks.sessions.bay,
        Signature: blocks.sessions.signature,
        ExternalLimit: blocks.external_limits.take,
        GridEvent: blocks.der.grid_event,
        TariffRefused: blocks.local_costs.refused,
        UpstreamLoad: blocks.load_balancing.measured,
        PriorityWish: blocks.priority.wish,
        DriverLimit: blocks.transaction_limits.driver,
        PaymentWish: blocks.web_payments.wish,
        RequestMade: blocks.signing.request_made,
        SleepRefused: blocks.smart_charging.sleep_refused,
        CertificateTaken: blocks.signing.taken,
        FirmwareProgress: blocks.firmware.progress,
        PublishProgress: blocks.publishing.progress,
        Fetched: blocks.publishing.fetched,
        LogProgress: blocks.diagnostics.progress,
        Restarted: blocks.resumption.restarted,
        Unlocked: blocks.remote_control.unlocked,
    }
