"""Authentication of requests: a bearer token of the configuration or the store, or a client certificate.

Beside the pipeline, as the server needs it before the framework is loaded.
"""

import asyncio
from typing import Any, Final

from csms.accounts import store as access
from csms.accounts.rules import Principal, balanced, bearer_digest, find_bearer, find_certificate
from csms.config import ApiListener
from csms.revocation_lists import RevocationLists
from csms.services import Services
from v2g.errors import CertificateError, RevocationError
from v2g.io.tls.peer_chain import PeerJudge
from v2g.observe import Observe, Scalar
from v2g.pki.profile import Role as CertificateRole


class Authenticator:
    """Authenticates requests. The constructor raises ConfigError for unreadable roots and revocation lists."""

    def __init__(self, config: ApiListener, services: Services) -> None:
        self._config = config
        self._services = services
        self.crls: Final = RevocationLists(config.crls, services.clock, services.observe, key="api.crls")
        self._judge = PeerJudge(config.client_roots, CertificateRole.API_CLIENT, services.clock, crls=self.crls.current)

    async def identify(
        self, authorization: bytes | None, transport: asyncio.BaseTransport | None, vehicle: bytes = b""
    ) -> Principal | None:
        """Return the principal of this Authorization header or of the connection's certificate; None: unknown.

        `vehicle`: what the header V2G-Vehicle names, which counts from a load balancer only.
        """
        if authorization is not None:  # a wrong token is rejected even with a valid certificate
            digest = bearer_digest(authorization)
            if digest is None:
                return None
            configured = find_bearer(digest, ((t.name, t.role, t.sha256, t.evs) for t in self._config.tokens))
            if configured is not None:
                return configured
            now_ms = self._services.clock.utc_ms()
            return await self._services.store.read(access.find_principal, digest, now_ms)
        if transport is None or not transport.get_extra_info("peercert"):
            return None
        try:
            name = self._judge.judge(transport).subject_cn
        except (CertificateError, RevocationError) as error:
            address: Any = transport.get_extra_info("peername")
            data: dict[str, Scalar] = {
                "peer": str(address[0]) if address else "",
                "reason": error.reason,
                "detail": str(error),
            }
            self._services.observe(Observe("ocpp", "http_client_refused", data))
            return None
        if any(each.balances and each.common_name == name for each in self._config.clients):
            return balanced(vehicle.decode("latin-1"))
        return find_certificate(name, ((c.common_name, c.role, c.evs) for c in self._config.clients))
