"""All functional blocks of a station on one kernel, and the one table of what they answer."""

from collections.abc import Callable

from secc.core.station.authorization import Authorizer
from secc.core.station.availability import Availability
from secc.core.station.cache import Cache
from secc.core.station.certificate_store import CertificateStore
from secc.core.station.data_collector import DataCollector
from secc.core.station.data_transfer import DataTransfer
from secc.core.station.der import DerControls
from secc.core.station.der_reactive import DerReactive
from secc.core.station.der_response import DerResponse
from secc.core.station.diagnostics import Diagnostics
from secc.core.station.display import Display
from secc.core.station.dynamic_profiles import DynamicProfiles
from secc.core.station.energy_transfer import EnergyTransfers
from secc.core.station.evse import Connector, Evse
from secc.core.station.external_limits import ExternalLimits
from secc.core.station.firmware import FirmwareUpdates
from secc.core.station.frequency import FrequencyResponse
from secc.core.station.high_level import HighLevel
from secc.core.station.kernel import Drawers, Handler, Kernel, Moment
from secc.core.station.load_balancing import LoadBalancing
from secc.core.station.local_cost import LocalCosts
from secc.core.station.local_list import LocalList
from secc.core.station.managed import ManagedSessions
from secc.core.station.metering import Metering
from secc.core.station.monitor import factory_monitors
from secc.core.station.monitoring import Monitors
from secc.core.station.network import NetworkProfiles
from secc.core.station.outbox import Outbox
from secc.core.station.payment import Payments
from secc.core.station.priority import PriorityCharging
from secc.core.station.provisioning import Provisioning
from secc.core.station.publishing import Publishing
from secc.core.station.remote_control import RemoteControl
from secc.core.station.reservation import Reservations
from secc.core.station.resumption import Resumption
from secc.core.station.sessions import Sessions
from secc.core.station.settings import NEEDS, StationSettings, with_der
from secc.core.station.signing import Signing
from secc.core.station.smart_charging import SmartCharging
from secc.core.station.tariff_cost import TariffCost
from secc.core.station.tariffs import Tariffs
from secc.core.station.transaction_limits import TransactionLimits
from secc.core.station.transactions import MeterSample
from secc.core.station.web_payment import WebPayments


class Blocks:
    """The blocks. `read` gives what the meter of an EVSE shows now (0: the main meter), None when there is none."""

    def __init__(
        self,
        settings: StationSettings,
        drawers: Drawers,
        moment: Moment,
        *,
        entropy: Callable[[int], bytes],
        read: Callable[[int], MeterSample | None],
    ) -> None:
        self.kernel = kernel = Kernel(
            with_der(settings), drawers, moment, entropy, scale=settings.scale, values=settings.values
        )
        self.settings = settings
        self.evses = {
            number: Evse(
                number=number,
                connectors=[
                    Connector(number=position, fixed_cable=connector.fixed_cable, station_end=connector.fixed_cable)
                    for position, connector in enumerate(evse.connectors, 1)
                ],
            )
            for number, evse in enumerate(settings.layout.evses, 1)
        }
        self.networks = NetworkProfiles(kernel, settings.network, settings.identity)
        self.outbox = Outbox(kernel, limit=settings.max_events)
        self.sessions = (ManagedSessions if settings.managed else Sessions)(kernel, self.outbox, self.evses, read)
        self.resumption = Resumption(kernel, self.evses, self.sessions)
        self.availability = Availability(kernel, self.evses)
        self.cache = Cache(kernel)
        self.local_list = LocalList(kernel)
        self.authorizer = Authorizer(kernel, self.evses, self.sessions, self.cache, self.local_list)
        self.reservations = Reservations(kernel, self.evses, self.availability)
        self.smart_charging = SmartCharging(kernel, self.evses, self.sessions)
        self.remote_control = RemoteControl(
            kernel, self.evses, self.sessions, self.authorizer, managed=settings.managed
        )
        self.provisioning = Provisioning(kernel, self.evses, self.sessions, self.resumption, managed=settings.managed)
        self.metering = Metering(kernel, self.evses, self.sessions, self.outbox, read)
        self.tariff_cost = TariffCost(kernel, self.sessions)
        self.tariffs = Tariffs(kernel, self.evses, self.sessions, self.cache)
        self.local_costs = LocalCosts(kernel, self.evses, self.sessions, self.tariffs, read, managed=settings.managed)
        self.energy_transfers = EnergyTransfers(kernel, self.sessions)
        self.data_transfer = DataTransfer(kernel)
        self.monitors = Monitors(kernel, self.outbox, factory=factory_monitors(kernel.model))
        self.data_collector = DataCollector(kernel, self.evses, read)
        self.diagnostics = Diagnostics(kernel, self.outbox, self.evses, self.monitors, self.cache, self.local_list)
        self.diagnostics.collected = self.data_collector.log
        self.certificates = CertificateStore(kernel, settings.roots)
        self.signing = Signing(kernel, self.certificates, settings.chains)
        self.firmware = FirmwareUpdates(kernel, self.certificates)
        self.publishing = Publishing(kernel, self.outbox)
        self.display = Display(kernel, self.evses)
        self.der = DerControls(
            kernel, self.outbox, settings.der_controls, inverter=settings.inverter, nominal_v=settings.nominal_v
        )
        self.der_response = DerResponse(
            kernel, self.evses, self.der, nominal_hz=settings.nominal_hz, nominal_v=settings.nominal_v
        )
        self.der_reactive = DerReactive(
            kernel, self.evses, self.der, read, nominal_v=settings.nominal_v, max_var=settings.inverter.max_var
        )
        self.der_reactive.out = self.der_response.out
        self.der_response.on_follow.append(self.der_reactive.follow)
        self.high_level = HighLevel(kernel, self.evses, self.sessions, self.smart_charging, self.outbox)
        self.external_limits = ExternalLimits(kernel, self.evses, self.sessions, self.smart_charging)
        self.dynamic_profiles = DynamicProfiles(kernel, self.smart_charging)
        self.frequency = FrequencyResponse(kernel, self.evses, self.smart_charging)
        self.load_balancing = LoadBalancing(kernel, self.evses, self.smart_charging, read)
        self.priority = PriorityCharging(kernel, self.evses, self.sessions, self.smart_charging, self.outbox)
        self.transaction_limits = TransactionLimits(kernel, self.evses, self.sessions, read)
        self.web_payments = WebPayments(kernel, self.evses)
        self.payments = Payments(
            kernel, self.evses, self.sessions, self.authorizer, self.transaction_limits, self.outbox
        )
        self.table = self._gather()

    def _gather(self) -> dict[str, Handler]:
        """The one table of answers: action -> function of its block."""
        blocks = (
            self.networks, self.sessions, self.availability, self.cache, self.local_list, self.reservations,
            self.smart_charging, self.remote_control, self.provisioning, self.tariff_cost, self.tariffs,
            self.energy_transfers, self.data_transfer, self.monitors, self.diagnostics, self.certificates,
            self.signing, self.firmware, self.publishing, self.display, self.dynamic_profiles, self.frequency, self.der,
            self.web_payments, self.priority,
        )  # fmt: skip
        found = {action: handler for block in blocks for action, handler in block.answers.items()}
        for ability, actions in NEEDS.items():
            if ability not in self.settings.able:
                for action in actions:
                    del found[action]
        return found
