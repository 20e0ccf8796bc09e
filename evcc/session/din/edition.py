"""DIN 70121 as a vehicle offers it: see `evcc.session.edition.Edition`."""

from evcc.session.din.session import PROTOCOL, DinVehicle
from evcc.session.edition import Connection
from evcc.session.settings import SessionConfig
from evcc.session.v2g_message.safety import V2gMessages
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.app_protocol import AppProtocol


class Din:
    """See Edition. It has no TLS [V2G-DC-618]; its only payment is external."""

    def protocols(self, config: SessionConfig, *, tls: bool) -> tuple[AppProtocol, ...]:
        """See Edition. A vehicle for direct current by a plug offers it."""
        direct = any(each in ("DC", "DC_BPT") for each in config.services.energy)
        return (PROTOCOL,) if direct and not tls else ()

    def session(
        self, config: SessionConfig, connection: Connection, protocols: tuple[AppProtocol, ...], connected_for: float
    ) -> DinVehicle:
        """See Edition."""
        return DinVehicle(
            config,
            battery=connection.battery,
            entropy=connection.entropy,
            protocols=protocols,
            connected_for=connected_for,
        )

    def reader(self, config: SessionConfig) -> V2gMessages:
        """See Edition."""
        return V2gMessages(config, config.timers_din, DIN)
