"""Which block handles which fact."""

from collections.abc import Callable
from typing import Any

from v2g_station.assembly import Blocks
from v2g_station.blocks.cost.local_cost import TariffRefused
from v2g_station.blocks.der.der import GridEvent
from v2g_station.blocks.diagnostics.diagnostics import LogProgress
from v2g_station.blocks.evse import (
    Bay,
    Contract,
    Fact,
    Power,
    PowerLimited,
    SecurityEvent,
    Signature,
    StopButton,
    Token,
    Unlocked,
    VehicleAddress,
)
from v2g_station.blocks.firmware import FirmwareProgress
from v2g_station.blocks.firmware_publishing import Fetched, PublishProgress
from v2g_station.blocks.payment.web_payment import WebPaymentRequested
from v2g_station.blocks.security.signing import CertificateTaken, RequestMade
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.load_balancing import UpstreamLoad
from v2g_station.blocks.smart_charging.priority import PriorityChargingRequested
from v2g_station.blocks.smart_charging.smart_charging import SleepRefused
from v2g_station.blocks.transactions.resumption import Restarted
from v2g_station.blocks.transactions.transaction_limits import DriverLimit


def takers(blocks: Blocks) -> dict[type[Fact], Callable[[Any], None]]:
    """Return the handlers of facts that concern one block alone."""
    return {
        Token: blocks.authorizer.token,
        Contract: blocks.authorizer.contract,
        VehicleAddress: blocks.authorizer.vehicle,
        StopButton: blocks.authorizer.stop_button,
        Power: blocks.sessions.power,
        PowerLimited: blocks.sessions.limited,
        Bay: blocks.sessions.bay,
        Signature: blocks.sessions.signature,
        ExternalLimit: blocks.external_limits.take,
        GridEvent: blocks.der.grid_event,
        TariffRefused: blocks.local_costs.refused,
        UpstreamLoad: blocks.load_balancing.measured,
        PriorityChargingRequested: blocks.priority.requested,
        DriverLimit: blocks.transaction_limits.driver,
        WebPaymentRequested: blocks.web_payments.requested,
        RequestMade: blocks.signing.request_made,
        SleepRefused: blocks.smart_charging.sleep_refused,
        CertificateTaken: blocks.signing.taken,
        FirmwareProgress: blocks.firmware.progress,
        PublishProgress: blocks.publishing.progress,
        Fetched: blocks.publishing.fetched,
        LogProgress: blocks.diagnostics.progress,
        SecurityEvent: lambda fact: blocks.diagnostics.security_event(fact.type, fact.info),
        Restarted: blocks.resumption.restarted,
        Unlocked: blocks.remote_control.unlocked,
    }
