"""A client of the pools of public Plug & Charge ecosystems, in OPCP's or OPNC's shape (`v2g.pki.pools`)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec

from v2g import typed_json
from v2g.errors import CodecError
from v2g.io.http.authorized import AuthorizedRequests, require_success
from v2g.io.http.known_client import KnownClient
from v2g.io.runtime.clock import Clock
from v2g.pki import pools

_ANSWER_S: Final = 20.0

PartyId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9*.-]*\Z", max_length=64)]


class PoolServer(KnownClient, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The pools of an ecosystem, and how this client shows who it is."""

    shape: pools.PoolShape = "opcp"
    """`opcp`, or `opnc`, whose URL ends in `/opnc/v1`."""
    party_type: Annotated[str, msgspec.Meta(pattern=r"^(cpo|emsp|oem|pki|cps|pcp|ccp)\Z")] = "cpo"
    """OPNC: what this client is."""
    party_id: PartyId = ""
    """OPNC: its identifier, such as the operator's."""


class _Subscribed(msgspec.Struct, frozen=True):
    id: str
    secret: str = ""


class PoolClient:
    """Speaks to the pools of one ecosystem.

    Methods raise TransportError when a later attempt may succeed, RefusedError (`refused`) when not, CodecError or
    CertificateError for an answer that is none.
    """

    def __init__(self, server: PoolServer, clock: Clock) -> None:
        """Read files. Raises ConfigError, KeyAccessError."""
        self._server, self._paths = server, pools.PATHS[server.shape]
        self._requests = AuthorizedRequests(server, clock, most_bytes=pools.MOST_ANSWER_BYTES)

    async def roots(self, kind: str = "") -> tuple[pools.PoolRoot, ...]:
        """Return the roots; `kind`: only mo (OPNC: emsp), v2g or oem."""
        query = f"?{self._paths.root_kind}={kind}" if kind else ""
        return pools.read_roots(await self._ask("GET", self._paths.roots + query))

    async def trust_list(self) -> bytes:
        """Return the signed list of roots, as it came. Raises CodecError for a shape without lists."""
        if not self._paths.trust_list:
            raise CodecError("OPNC has no signed list of roots")
        return await self._ask("GET", self._paths.trust_list)

    async def contracts(self, request: bytes, namespace: str) -> tuple[pools.PoolContract, ...]:
        """Return the contracts for a vehicle's request (EXI), the default one first; none if it has none."""
        told = {"alwaysReturnEXI": "false", "broadcast": "false"}
        body = pools.write_installation(request, namespace)
        answer = await self._send("POST", self._paths.contracts, body, told, missing=True)
        return () if answer is None else pools.read_contracts(answer)

    async def provisioning(self, pcid: str) -> tuple[bytes, ...] | None:
        """Return the chain of a vehicle's provisioning certificate (DER, leaf first); None: it is not known."""
        found = await self._send("GET", f"{self._paths.provisioning}/{pcid}", None, {}, missing=True)
        return None if found is None else pools.read_provisioning(found)

    async def add_provisioning(self, chain: Sequence[bytes], namespace: str) -> None:
        """Store the provisioning certificate of a vehicle."""
        body = pools.write_provisioning(chain, namespace, self._server.shape, answer=False)
        await self._ask("PUT", self._paths.provisioning, body)

    async def sign(self, contract: pools.SealedContract, *, store: bool) -> pools.StoredContract | None:
        """Have a contract signed; `store`: and stored in the pool at once, for which OPCP returns nothing."""
        path = self._paths.forward if store else self._paths.sign
        answer = await self._ask("PUT", path, pools.write_signing(contract, self._server.shape))
        return pools.read_stored(answer) if answer else None

    async def add_contract(self, contract: pools.StoredContract) -> None:
        """Store a signed contract."""
        await self._ask("PUT", self._paths.contracts, pools.write_stored(contract, self._server.shape, answer=False))

    async def remove_contract(self, emaid: str) -> None:
        """Take a contract out of the pool."""
        await self._ask("DELETE", f"{self._paths.contracts}/{emaid}")

    async def generate(self, order: pools.ContractOrder) -> None:
        """Have a contract made, signed and stored."""
        await self._ask("PUT", self._paths.generate, msgspec.to_builtins(order))

    async def subscribe(self, url: str, events: Sequence[str]) -> tuple[str, str]:
        """Have events sent to a URL; return the endpoint's id, and the secret that signs them."""
        body = {"url": url, "enabledEvents": list(events), "status": "enabled"}
        answer = await self._ask("POST", self._paths.endpoints, body)
        try:
            made = typed_json.decode(answer, _Subscribed)
        except msgspec.DecodeError as error:
            raise CodecError(f"not a subscription: {error}") from None
        return made.id, made.secret

    async def unsubscribe(self, endpoint: str) -> None:
        """End a subscription."""
        await self._ask("DELETE", f"{self._paths.endpoints}/{endpoint}")

    async def _ask(self, method: str, path: str, body: object = None) -> bytes:
        found = await self._send(method, path, None if body is None else msgspec.json.encode(body), {})
        assert found is not None
        return found

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], *, missing: bool = False
    ) -> bytes | None:
        """Return the body of an answer; None, if `missing` is expected, for one that there is nothing (404)."""
        server, url = self._server, self._server.url.rstrip("/") + path
        sent = {"Accept": "application/json", **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        if server.shape == "opnc" and server.party_id:
            sent |= {"OPNC-from-party-type": server.party_type, "OPNC-from-party-id": server.party_id}
        answer = await self._requests.send(method, url, body, sent, timeout_s=_ANSWER_S)
        if missing and answer.status == 404:
            return None
        require_success(method, url, answer, _HINTS)
        return answer.body


_HINTS: Final = {
    400: "does the ecosystem know the vehicle's maker, and the edition?",
    401: "are client_id and client_secret right?",
    403: "rights follow identifiers: is this contract, vehicle or charger of this client?",
    404: "are url and shape right?",
}
