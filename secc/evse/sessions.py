"""Makes the sessions of an EVSE: each begins with what is known at that moment."""

import os
from collections.abc import Callable, Sequence

import msgspec

from secc.config import ProgramConfig
from secc.energy_manager.grid import SiteGrid
from secc.evse.archive import ChargerOwner
from secc.hardware.meter import Meter
from secc.hardware.safety import SafetyChannel
from secc.link.transport import VehicleTransport
from secc.session.basic_charging import BasicSession, Way
from secc.session.edition import Edition, EditionSession, NegotiatedSession, SessionStart, served
from secc.session.facts import SessionFacts
from secc.session.identity import Connection, Identity, SessionTrust
from secc.session.limits import SessionLimits
from secc.session.ports import Paused
from v2g.hardware.interfaces import ChargerPilot
from v2g.io.runtime.clock import Clock
from v2g.pki.credentials import Credentials


class Sessions(msgspec.Struct, frozen=True):
    """Makes sessions. `latch` is whether the socket-outlet has one, `paused` returns the session that may be joined,
    `lines` how many line conductors of an AC outlet are in use."""

    config: ProgramConfig
    grid: SiteGrid
    clock: Clock
    transport: VehicleTransport
    owner: ChargerOwner
    meter: Meter
    safety: SafetyChannel
    pilot: ChargerPilot | None
    latch: bool
    paused: Callable[[], Paused | None]
    lines: Callable[[], int]

    def conversation(
        self,
        own: Credentials,
        vehicle_certificate: bytes,
        version: str,
        editions: Sequence[Edition],
        *,
        online: bool,
        central: bool,
    ) -> NegotiatedSession:
        """Return the session of a connection over this version of TLS ("none" is TCP alone).

        `own` is the chain that the vehicle was shown, `vehicle_certificate` its leaf (DER, empty without), `editions`
        those that the connection carries, at least one, `online` whether the back end is reachable, `central` whether
        it judges contracts whose root is not known here.
        """
        self.grid.plugged(self._cable_ma)
        charger = self.config.charger
        trusted, endpoint = self.transport.trust, self.transport.endpoint
        connection = Connection(
            SessionTrust(
                v2g_roots=trusted.of("V2GRootCertificate"),
                mo_roots=trusted.of("MORootCertificate"),
                key=own.key,
                chain=own.chain,
                interop=self.config.security_profile == "interop",
                oem_roots=trusted.of("OEMRootCertificate"),
                crosses=endpoint.crosses,
                crls=tuple(endpoint.crls()),
                price_key=self.owner.prices,
                central=central,
            ),
            self._identity,
            os.urandom,
            vehicle_certificate=vehicle_certificate,
            tls=version != "none",
            can_plan=online,
            served=served(editions, charger),
        )
        return NegotiatedSession(
            tuple(editions), charger, lambda edition: self._session(edition, connection, online=online)
        )

    def _session(self, edition: Edition, connection: Connection, *, online: bool) -> EditionSession:
        """Return a session of this edition that knows what is known now."""
        charger, grid = self.config.charger, self.grid
        start = SessionStart(
            config=charger,
            connection=connection,
            limits=SessionLimits(charger, charger.services[0].family, grid.limits, grid.setpoint, grid.foreseen),
            facts=SessionFacts(
                tariff=grid.tariff,
                meter=self.meter.read(self.clock.utc_ms()),
                pilot=None if self.pilot is None else self.pilot.state,
                response=grid.response,
                grid_support=grid.grid_support,
                can_install=online,
                lines=self.lines(),
                csms_prices=grid.csms_prices,
            ).from_here(),
            paused=self.paused(),
            time_scale=self.clock.scale,
            on_message=self.safety.converse(edition.reader(charger, interop=connection.trust.interop)),
        )
        return edition.session(start)

    def basic(self, own: Credentials, way: Way) -> BasicSession:
        """Return the session that charges by nominal duty; `way` is the reason. The EVSE has a pilot."""
        charger, pilot = self.config.charger, self.pilot
        assert pilot is not None
        assert charger.basic is not None
        self.grid.plugged(self._cable_ma)
        interval_s = charger.basic.timing.duty_interval_s
        self.safety.signal(pilot.state, most_w=charger.ac_rating.max_charge_power_w, interval_s=interval_s)
        return BasicSession(
            charger,
            identity=self._identity,
            chain=own.chain,
            entropy=os.urandom,
            pilot=pilot.state,
            way=way,
            limits=self.grid.limits,
            setpoint=self.grid.setpoint,
            tariff=self.grid.tariff,
            meter=self.meter.read(self.clock.utc_ms()),
            cable_a=pilot.proximity.max_current_a,
            ventilation=self.config.hardware.watch.ventilation,
            response=self.grid.response,
            lines=self.lines(),
            time_scale=self.clock.scale,
        )

    @property
    def _identity(self) -> Identity:
        config = self.config
        return Identity(
            station_id=config.station.identity if config.station else config.charger.evse_id,
            meter_serial=self.meter.serial,
            meter_certificate=self.owner.meter.leaf,
            voltmeter_offset_mv=config.hardware.voltmeter_offset_mv,
        )

    @property
    def _cable_ma(self) -> int | None:
        """Rating of each conductor of the cable in a socket-outlet by its coding, mA; None if uncoded, or the cable is
        fixed."""
        if self.pilot is None or self.config.hardware.kind != "ac" or not self.latch:
            return None
        return self.pilot.proximity.max_current_a * 1000 or None
