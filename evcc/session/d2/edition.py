"""ISO 15118-2 as a vehicle offers it: see `evcc.session.edition.Edition`."""

from evcc.session.d2.session import PROTOCOL, Vehicle2
from evcc.session.edition import Connection
from evcc.session.paused import PausedSession
from evcc.session.settings import SessionConfig
from evcc.session.v2g_message.safety import V2gMessages
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine.app_protocol import AppProtocol


class Iso2:
    """See Edition."""

    def protocols(self, config: SessionConfig, *, tls: bool) -> tuple[AppProtocol, ...]:
        """See Edition. A vehicle with a plug offers it; without TLS only external payment is left [V2G2-828]."""
        plugged = any(each in ("DC", "DC_BPT", "AC", "AC_BPT") for each in config.services.energy)
        payable = tls or config.authorization.allow_eim or config.authorization.prefer_eim
        return (PROTOCOL,) if plugged and payable else ()

    def session(
        self, config: SessionConfig, connection: Connection, protocols: tuple[AppProtocol, ...], connected_for: float
    ) -> Vehicle2:
        """See Edition."""
        resume = connection.resume
        return Vehicle2(
            config,
            battery=connection.battery,
            entropy=connection.entropy,
            protocols=protocols,
            connected_for=connected_for,
            tls=bool(connection.secc_certificate),
            contracts=connection.contracts,
            provisioning=connection.provisioning,
            price_signers=connection.price_signers,
            resume=resume if isinstance(resume, PausedSession) else None,
        )

    def reader(self, config: SessionConfig) -> V2gMessages:
        """See Edition."""
        return V2gMessages(config, config.timers_2, ISO2)
