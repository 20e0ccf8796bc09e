"""ISO 15118-20 as a vehicle offers it: see `evcc.session.edition.Edition`."""

from evcc.session.d20.requests import ask
from evcc.session.d20.safety import Iso20Messages
from evcc.session.d20.session import VehicleSession
from evcc.session.edition import Connection
from evcc.session.paused import Resume
from evcc.session.settings import SessionConfig
from v2g.iso15118.engine.app_protocol import AppProtocol


class Iso20:
    """See Edition. Without TLS it is for laboratories, whose configuration decides about that."""

    def protocols(self, config: SessionConfig, *, tls: bool) -> tuple[AppProtocol, ...]:
        """See Edition."""
        return ask.protocols(config.services)

    def session(
        self, config: SessionConfig, connection: Connection, protocols: tuple[AppProtocol, ...], connected_for: float
    ) -> VehicleSession:
        """See Edition."""
        return VehicleSession(
            config,
            battery=connection.battery,
            secc_certificate=connection.secc_certificate,
            entropy=connection.entropy,
            contracts=connection.contracts,
            provisioning=connection.provisioning,
            stopwatch=connection.stopwatch,
            connected_for=connected_for,
            resume=connection.resume if isinstance(connection.resume, Resume) else None,
            price_signers=connection.price_signers,
            own_policy=connection.own_policy,
            discharged_before_mwh=connection.discharged_before_mwh,
            protocols=protocols,
        )

    def reader(self, config: SessionConfig) -> Iso20Messages:
        """See Edition."""
        return Iso20Messages(config)
