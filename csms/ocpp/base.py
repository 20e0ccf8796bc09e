"""The context of handlers: the services shared by all stations, and one station's connection."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from csms.admission.work import StationAdmissions
from csms.attestations.attester import Attester
from csms.attestations.rules import Attested
from csms.booking.work import Bookkeeper
from csms.cluster.connections import ConnectionRegistry
from csms.cluster.feed import Feed, FrameLog
from csms.cluster.precedence import Precedence
from csms.config import CsmsConfig
from csms.contracts.verifier import ContractVerifier
from csms.db import leases
from csms.db.store import Store
from csms.db.store_key import StoreKey
from csms.grid.shares import GridShares
from csms.grid.source import GridSource
from csms.metrics import Metrics
from csms.prequalifications.work import ExportPermits
from csms.remote_control import store as commands
from csms.roaming import authorization
from csms.roaming.partners import Partners
from csms.settlements.journals import JournalStore
from csms.smart_charging.rules import Needs, Orders, StationAbilities
from csms.station_security.authority import StationCa
from csms.stations.last_seen import LastSeen
from csms.telemetry.seal import TelemetrySeal
from csms.tokens import store as tokens
from csms.tokens.rules import Known, Token, Where, normalise
from csms.transactions.events import find_last
from csms.trust.certificate_status import CertificateStatus
from v2g.errors import OcppError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import Component
from v2g.ocpp.messages.payment import DIRECT_PAYMENT
from v2g.ocpp.routes import Version
from v2g.pki.keys import PublicKey, SigningKey

if TYPE_CHECKING:  # loaded only if configured
    from csms.contracts.provisioning import Provisioner

_MAX_INTEGER: Final = 2**31 - 1  # OCPP integers have 32 bits (part 2, 2.1)


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The services shared by all stations."""

    config: CsmsConfig
    store: Store
    store_key: StoreKey
    telemetry_seal: TelemetrySeal
    books_key: SigningKey
    books_keys: tuple[PublicKey, ...]
    clock: Clock
    observe: EventLog
    grid: GridSource
    permits: ExportPermits
    shares: GridShares
    contracts: ContractVerifier
    journals: JournalStore
    bookkeeper: Bookkeeper
    connections: ConnectionRegistry
    feed: Feed
    frames: FrameLog
    certificate_status: CertificateStatus
    admissions: StationAdmissions
    seen: LastSeen
    station_ca: StationCa
    provisioning: "Provisioner | None" = None
    attester: Attester | None = None
    partners: Partners | None = None
    orders: Orders = msgspec.field(default_factory=Orders)
    abilities: StationAbilities = msgspec.field(default_factory=StationAbilities)
    precedence: Precedence = msgspec.field(default_factory=Precedence)
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    overloads: dict[str, float] = msgspec.field(default_factory=dict)
    """Sites that this node balances: by how much (A) their vehicles may exceed the worst fuse."""

    def report(self, stage: str, name: str, station_id: str, data: Mapping[str, Scalar]) -> None:
        """Record an event of a station, and publish it."""
        self.observe(Observe(stage, name, {"station": station_id, **data}))
        self.feed.publish(name, station_id, data)

    def announce(self, stage: str, name: str, **data: Scalar) -> None:
        """Record an event that concerns no single station, and publish it."""
        self.observe(Observe(stage, name, data))
        self.feed.publish(name, None, data)

    def log_name(self, ev: str) -> str:
        """Return what stands for a vehicle in the log of events, which keeps no pseudonym: the same at all nodes."""
        return f"vehicle-{self.store_key.derive(f'log of events {ev}')[:16]}"

    async def leads(self, work: str, every_s: float) -> bool:
        """Return whether this node is the one that does a work, for the next three of its intervals (s)."""
        now_ms = self.clock.utc_ms()
        return await self.store.run(leases.take, work, self.feed.node, now_ms, now_ms + round(3000 * every_s))


class HandlerContext:
    """One station's requests on one connection. `on_needs(evse_id)` is called when a vehicle has sent its needs,
    `on_turnover` when a transaction has begun or ended."""

    __slots__ = ("early_needs", "on_needs", "on_turnover", "pending", "services", "station_id", "version")

    def __init__(
        self,
        services: Services,
        station_id: str,
        version: Version,
        on_needs: Callable[[str, Needs], None],
        on_turnover: Callable[[], None],
    ) -> None:
        self.services: Final = services
        self.station_id: Final = station_id
        self.version: Final = version
        self.on_needs: Final = on_needs
        self.on_turnover: Final = on_turnover
        self.early_needs: Final[dict[int, Needs]] = {}
        self.pending: Final[dict[int, tuple[int, int]]] = {}
        """Event stream -> how many readings were queued at the station, and how often in a row that had grown."""

    def observe(self, stage: str, name: str, **data: Scalar) -> None:
        """Record an event of this station."""
        self.services.report(stage, name, self.station_id, data)

    async def find(self, token: IdToken) -> Token | None:
        """Return a token, if known."""
        return await self.services.store.read(tokens.find, token.type, normalise(token.type, token.id_token))

    async def look_up(self, token: IdToken, transaction_id: str | None = None) -> Known | None:
        """Return a token with everything that decides about it; `transaction_id`: the transaction that it is for."""
        if token.type == DIRECT_PAYMENT:
            # a payer: at the station's terminal if it has one (C18.FR.05), or on the web, from the CSMS
            services = self.services
            paid = services.config.payments.terminals or await services.store.read(
                commands.has_started, self.station_id, token.type, token.id_token
            )
            return Known(token=Token(token.type, token.id_token, "Accepted")) if paid else None
        about = None if transaction_id is None else (self.station_id, transaction_id)
        key = token.type, normalise(token.type, token.id_token)
        known = await self.services.store.read(tokens.look_up, *key, self.services.clock.utc_ms(), about)
        if known is None and self.services.partners is not None:
            return await authorization.look_up(self.services.partners, token, self.station_id, transaction_id)
        return known

    async def key_of(self, transaction_id: str) -> str:
        """Return the key of the last transaction for which this station has used an id."""
        return await self.services.store.read(find_last, self.station_id, transaction_id)

    def where(self, evse_id: int | None = None) -> Where:
        """Return this station or one of its EVSEs, now."""
        return Where(self.station_id, evse_id, self.services.clock.utc_ms())


def report_attestation(services: Services, before: Attested, after: Attested) -> None:
    """Report what a station has proved, if that has changed: what it may export depends on it."""
    if (after.state, after.reasons) != (before.state, before.reasons):
        if after.state == "Whole":
            services.report("ocpp", "attested", after.station_id, {})
        else:
            data = {"state": after.state, "reason": "; ".join(after.reasons)[:500]}
            services.report("ocpp", "attestation_failed", after.station_id, data)


def check_places(components: Iterable[Component]) -> None:
    """Raise OcppError for a component whose EVSE or connector does not fit an OCPP integer."""
    for component in components:
        if component.evse is not None:
            small(component.evse.id)
            small(component.evse.connector_id or 0)


def small(number: int) -> int:
    """Return a number that fits an OCPP integer. Raises OcppError for others."""
    if abs(number) > _MAX_INTEGER:
        raise OcppError(f"{number} does not fit an OCPP integer", answer="PropertyConstraintViolation")
    return number
