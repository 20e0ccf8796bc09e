"""Pools around a tree, as public Plug & Charge ecosystems have them (OPCP, OPNC): a laboratory's (R217).

Roots with a signed list of them, vehicles' provisioning certificates, contracts, the provisioning service that signs
them, and subscriptions to events, behind tokens of OAuth 2.0. OPCP's paths begin at the server's root, OPNC's at
`/opnc/v1`; both show the same pools, which stay in the tree's folder `pools` over restarts. The tree's edition is that
of the contracts.
"""

import asyncio
import hmac
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast

import msgspec
from aiohttp import web

from pki_tools.authority import load_pem, new_key
from pki_tools.bounded_http import BoundedHttp, HttpBounds, Watch
from pki_tools.files import write_whole
from pki_tools.index import load_index
from pki_tools.issuing import CertificateOrder, issue_certificate, make_request
from pki_tools.serve import utc_now
from v2g import typed_json
from v2g.errors import CertificateError, CodecError, ConfigError, TransportError, TrustError
from v2g.io.http.client import request as send
from v2g.io.runtime.supervision import spawn
from v2g.iso15118 import foreign_contracts
from v2g.iso15118.d2 import provisioning as d2
from v2g.iso15118.d20 import provisioning as d20
from v2g.iso15118.engine.contracts import Answer, Contract, Service, read_pcid
from v2g.observe import Observe
from v2g.pki.certificates import chain_from_pem, chain_to_pem, contract_of, is_emaid, normalize_emaid
from v2g.pki.credentials import load_chain
from v2g.pki.csr import load_csr
from v2g.pki.issue import Issuer, Subject
from v2g.pki.keys import load_key, load_private_key, save_key, save_secret
from v2g.pki.pools import (
    PATHS,
    SIGNATURE_HEADERS,
    PoolContract,
    PoolPaths,
    PoolRoot,
    PoolShape,
    RootKind,
    SealedContract,
    StoredContract,
    encode_base64,
    event_signature,
    read_installation,
    read_order,
    read_provisioning,
    read_roots,
    read_signing,
    read_stored,
    write_contracts,
    write_provisioning,
    write_roots,
    write_stored,
)
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.trust_list import write_trust_list
from v2g.pki.verify import verify_chain

FOLDER: Final = "pools"
_ENDPOINTS: Final = "endpoints.json"
OPNC_BASE: Final = "/opnc/v1"
_TOKEN_S: Final = 600
_LIST_DAYS: Final = 7
_FAMILIES: Final[Mapping[str, RootKind]] = {"v2g/root": "V2G", "mo/root": "MO", "oem/root": "OEM"}
_BOUNDS: Final = HttpBounds(most_bytes=256 * 1024, patience_s=30.0, most_connections=256)
_Handler = Callable[[web.Request], Awaitable[web.Response]]
_Operation = Callable[[web.Request, PoolShape], Awaitable[web.Response]]


class _Grant(msgspec.Struct, frozen=True):
    client_id: str
    client_secret: str
    grant_type: str
    audience: str = ""


class _Endpoint(msgspec.Struct, frozen=True, rename="camel"):
    url: str
    enabled_events: tuple[str, ...]
    status: str = "enabled"


class PoolService:
    """Serves one tree from `start` to `close`. `clients` are secrets by client id."""

    def __init__(
        self, directory: Path, clients: Mapping[str, str], *, observe: Watch, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._directory, self._clients, self._observe, self._now = directory, clients, observe, now
        self._folder = directory / FOLDER
        self._tokens: dict[str, datetime] = {}
        self._told: set[asyncio.Task[None]] = set()
        self._signing = asyncio.Lock()
        self.event_tls: ssl.SSLContext | None = None
        """TLS towards subscribers; None: the system's roots."""
        routes = [web.post("/oauth/token", self._token)]
        shapes: tuple[tuple[PoolShape, str], ...] = (("opcp", ""), ("opnc", OPNC_BASE))
        for shape, base in shapes:
            routes += self._routes(shape, base, PATHS[shape])
        self._http = BoundedHttp(
            routes, _BOUNDS, observe=observe, failed=lambda: web.Response(status=500, text="failed\n")
        )

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Read the tree and listen; return the port. Raises ConfigError, KeyAccessError, TransportError."""
        index = load_index(self._directory)
        self._generation = index.settings.generation
        service = Service(load_chain(self._directory / "cps/chain.pem"), load_key(self._directory / "cps/leaf.key"))
        self._service = service
        anchors = [load_chain(self._directory / f"{name}.pem")[0] for name in _FAMILIES]
        self._trust = foreign_contracts.ContractTrust(roots=tuple(anchors))
        subs = tuple(load_chain(self._directory / f"oem/{name}.pem")[0] for name in ("sub1", "sub2"))
        self._judge: d2.ProvisioningService | d20.ProvisioningService
        if self._generation is Generation.ISO15118_2:
            self._judge = d2.ProvisioningService(service, oem_roots=anchors, mo_roots=anchors, oem_sub_cas=subs)
        else:
            self._judge = d20.ProvisioningService(service, oem_roots=anchors, mo_roots=anchors)
        if not (self._folder / "roots").exists():
            for name, kind in _FAMILIES.items():
                self._add_root(PoolRoot(kinds=(kind,), certificate=load_chain(self._directory / f"{name}.pem")[0]))
        return await self._http.start(host, port, tls)

    async def close(self) -> None:
        """Stop listening, finish pending answers (2 s at most)."""
        for task in self._told:
            task.cancel()
        await self._http.close()

    async def add_root(self, root: PoolRoot) -> None:
        """Add a root to the pool, and tell subscribers."""
        self._add_root(root)
        await self.tell("root.cert.added", {"rootCertificateId": root.number, "rootType": root.kinds[0]})

    async def tell(self, kind: str, payload: Mapping[str, str]) -> None:
        """Tell subscribers of an event, three times while they fail."""
        for number, (endpoint, secret) in self._endpoints().items():
            if endpoint.status == "enabled" and kind in endpoint.enabled_events:
                body = msgspec.json.encode({"eventId": os.urandom(8).hex(), "eventType": kind, "payload": payload})
                task = spawn(self._deliver(number, endpoint.url, body, event_signature(secret, body)))
                self._told.add(task)
                task.add_done_callback(self._told.discard)

    async def _deliver(self, number: str, url: str, body: bytes, signature: str) -> None:
        status = 0
        for _ in range(3):
            try:
                headers = {SIGNATURE_HEADERS[0]: signature, "Content-Type": "application/json"}
                answer = await send(
                    "POST", url, most=4096, timeout_s=10, body=body, headers=headers, context=self.event_tls
                )
                status = answer.status
            except TransportError:
                continue
            if status < 500:
                break
        self._observe(Observe("pki", "pool_event", {"endpoint": number, "status": status}))

    # -- requests

    def _routes(self, shape: PoolShape, base: str, paths: PoolPaths) -> list[web.RouteDef]:
        def known(handler: _Operation) -> _Handler:
            async def checked(request: web.Request) -> web.Response:
                kind, _, token = request.headers.get("Authorization", "").partition(" ")
                until = self._tokens.get(token)
                if kind.lower() != "bearer" or until is None or until < self._now():
                    raise web.HTTPUnauthorized
                try:
                    return await handler(request, shape)
                except (CodecError, ConfigError, TrustError) as error:
                    return web.json_response({"errorMessages": [str(error)]}, status=400)

            return checked

        routes = [
            web.get(base + paths.roots, known(self._list_roots)),
            web.put(base + paths.roots, known(self._put_root)),
            web.delete(base + paths.roots + "/{id}", known(self._delete_root)),
            web.put(base + paths.provisioning, known(self._put_provisioning)),
            web.get(base + paths.provisioning + "/{pcid}", known(self._get_provisioning)),
            web.post(base + paths.contracts, known(self._install)),
            web.put(base + paths.contracts, known(self._put_contract)),
            web.delete(base + paths.contracts + "/{emaid}", known(self._delete_contract)),
            web.put(base + paths.forward, known(self._sign_and_store)),
            web.put(base + paths.generate, known(self._generate)),
            web.get(base + paths.signers, known(self._signers)),
            web.post(base + paths.endpoints, known(self._subscribe)),
            web.delete(base + paths.endpoints + "/{id}", known(self._unsubscribe)),
        ]
        if paths.sign != paths.forward:
            routes.append(web.put(base + paths.sign, known(self._sign)))
        if paths.trust_list:
            routes.append(web.get(base + paths.trust_list, known(self._trust_list)))
        return routes

    async def _token(self, request: web.Request) -> web.Response:
        try:
            asked = typed_json.decode(await request.read(), _Grant)
        except msgspec.DecodeError as error:
            return web.json_response({"error": "invalid_request", "error_description": str(error)}, status=400)
        right = self._clients.get(asked.client_id, "")
        same = hmac.compare_digest(asked.client_secret.encode(), right.encode())
        if not right or not same or asked.grant_type != "client_credentials":
            return web.json_response({"error": "invalid_client"}, status=401)
        now, token = self._now(), os.urandom(24).hex()
        self._tokens = {each: until for each, until in self._tokens.items() if until > now}
        self._tokens[token] = now + timedelta(seconds=_TOKEN_S)
        return web.json_response({"access_token": token, "expires_in": _TOKEN_S, "token_type": "Bearer"})

    # -- roots

    def _roots(self) -> list[PoolRoot]:
        return [
            PoolRoot(
                kinds=cast("tuple[RootKind, ...]", tuple(file.stem.split("-")[1:])), certificate=load_chain(file)[0]
            )
            for file in sorted((self._folder / "roots").glob("*.pem"))
        ]

    def _add_root(self, root: PoolRoot) -> None:
        folder = self._folder / "roots"
        folder.mkdir(parents=True, exist_ok=True)
        name = "-".join((root.fingerprint[:32], *root.kinds))
        write_whole(folder / f"{name}.pem", chain_to_pem((root.certificate,)).encode())
        self._raise_number()

    def _raise_number(self) -> None:
        """Note that the next list is a newer one."""
        write_whole(self._folder / "list", str(self._number() + 1).encode())

    def _number(self) -> int:
        file = self._folder / "list"
        return int(file.read_text()) if file.exists() else 0

    async def _list_roots(self, request: web.Request, shape: PoolShape) -> web.Response:
        kind = request.query.get(PATHS[shape].root_kind, "").upper().replace("EMSP", "MO")
        found = [each for each in self._roots() if not kind or kind in each.kinds]
        return web.json_response(write_roots(found, shape))

    async def _put_root(self, request: web.Request, _shape: PoolShape) -> web.Response:
        """Add a root: what only the operator of a pool does."""
        found = read_roots(b'{"rootCertificateCollection":[' + await request.read() + b"]}")
        if len(found) != 1:
            raise CodecError(f"{len(found)} roots instead of one")
        await self.add_root(found[0])
        return web.Response(status=200)

    async def _delete_root(self, request: web.Request, _shape: PoolShape) -> web.Response:
        number = request.match_info["id"]
        name = number.replace("-", "")
        found = [file for file in (self._folder / "roots").glob("*.pem") if file.name.startswith(f"{name}-")]
        if not found:
            raise web.HTTPNotFound
        found[0].unlink()
        self._raise_number()
        await self.tell("root.cert.expired", {"rootCertificateId": number})
        return web.Response(status=200)

    async def _trust_list(self, _request: web.Request, _shape: PoolShape) -> web.Response:
        now, folder = self._now().replace(microsecond=0), self._folder / "signer"
        async with self._signing:
            if not folder.exists():
                key, role = new_key(KeyKind.SECP256R1, Role.TRUST_LIST), Role.TRUST_LIST
                csr = load_csr(make_request(key, role, Subject(common_name="trust list", organization="lab")))
                order = CertificateOrder(role=role, name=f"{FOLDER}/signer", common_name="trust list", request=csr)
                await asyncio.to_thread(issue_certificate, self._directory, order, at=now)
                save_key(folder / "leaf.key", key)
        signer = Issuer(load_pem(folder / "leaf.pem"), load_private_key(folder / "leaf.key"))
        until = now + timedelta(days=_LIST_DAYS)
        return web.json_response(write_trust_list(self._number(), now, until, self._roots(), signer))

    # -- provisioning certificates

    async def _put_provisioning(self, request: web.Request, _shape: PoolShape) -> web.Response:
        chain = read_provisioning(await request.read())
        verified = verify_chain(
            chain[0],
            chain[1:],
            self._trust.roots,
            role=Role.OEM_PROVISIONING,
            at=self._now(),
            generation=self._generation,
        )
        folder = self._folder / "provisioning"
        folder.mkdir(parents=True, exist_ok=True)
        pcid = read_pcid(verified.subject_cn)
        write_whole(folder / f"{pcid}.pem", chain_to_pem(chain).encode())
        await self.tell("mo.prov.cert.updated", {"pcid": pcid})
        return web.Response(status=200)

    async def _get_provisioning(self, request: web.Request, shape: PoolShape) -> web.Response:
        chain = self._provisioning(request.match_info["pcid"])
        return web.json_response(
            write_provisioning(chain, foreign_contracts.NAMESPACES[self._generation], shape, answer=True)
        )

    def _provisioning(self, pcid: str) -> tuple[bytes, ...]:
        file = self._folder / "provisioning" / f"{read_pcid(pcid)}.pem"
        if not file.exists():
            raise web.HTTPNotFound(reason="the provisioning certificate is not known")
        return chain_from_pem(file.read_bytes())

    # -- contracts

    async def _install(self, request: web.Request, shape: PoolShape) -> web.Response:
        exi, namespace = read_installation(await request.read())
        if foreign_contracts.generation_of(namespace) is not self._generation:
            raise CodecError(f"this pool has contracts of {self._generation.value} only")
        asked, utc_ms = foreign_contracts.read_contract_request(exi, namespace), round(self._now().timestamp() * 1000)
        answer = self._judge.read(exi, utc_ms)
        if isinstance(answer, Answer):
            raise CertificateError(answer.reason, reason="bad_signature")
        found = [
            (file.stem, file) for file in sorted((self._folder / "contracts" / read_pcid(asked.pcid)).glob("*.exi"))
        ]
        if not found:
            told = [PoolContract(emaid="", response=foreign_contracts.no_contract(asked, utc_ms))]
            also = request.headers.get("alwaysReturnEXI", "true").lower() == "true"
            content = (
                write_contracts(told, asked.pcid, namespace, shape) if also else {"errorMessages": ["no contract"]}
            )
            return web.json_response(content, status=404)
        if self._generation is Generation.ISO15118_2:
            found = found[:1]
        told = [
            PoolContract(
                emaid=emaid, response=foreign_contracts.addressed(file.read_bytes(), asked, utc_ms, len(found) - place)
            )
            for place, (emaid, file) in enumerate(found, 1)
        ]
        return web.json_response(write_contracts(told, asked.pcid, namespace, shape))

    async def _put_contract(self, request: web.Request, _shape: PoolShape) -> web.Response:
        await self._store(read_stored(await request.read()))
        return web.Response(status=201)

    async def _store(self, contract: StoredContract) -> None:
        pcid, emaid = read_pcid(contract.pcid), normalize_emaid(contract.emaid)
        if not is_emaid(emaid):
            raise CodecError("not an EMAID")
        asked = foreign_contracts.ForeignRequest(
            generation=foreign_contracts.generation_of(contract.namespace), session_id=bytes(8), pcid=pcid
        )
        response = foreign_contracts.addressed(contract.response, asked, round(self._now().timestamp() * 1000), 0)
        found, _ = foreign_contracts.check_contract(response, asked, self._trust, self._now())
        if contract_of(found.emaid) != contract_of(emaid):
            raise CertificateError("the contract has another EMAID", reason="wrong_subject")
        folder = self._folder / "contracts" / pcid
        event = "oem.contract.updated" if (folder / f"{emaid}.exi").exists() else "oem.contract.created"
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{emaid}.exi", response)
        self._observe(Observe("pki", "pool_contract", {"pcid": pcid, "emaid": emaid}))
        await self.tell(event, {"emaid": emaid, "pcid": pcid})

    async def _delete_contract(self, request: web.Request, _shape: PoolShape) -> web.Response:
        emaid = normalize_emaid(request.match_info["emaid"])
        found = list((self._folder / "contracts").glob(f"*/{emaid}.exi")) if is_emaid(emaid) else []
        if not found:
            raise web.HTTPNotFound
        for file in found:
            file.unlink()
            await self.tell("oem.contract.deleted", {"emaid": emaid, "pcid": file.parent.name})
        return web.Response(status=200)

    # -- the provisioning service

    async def _sign(self, request: web.Request, shape: PoolShape) -> web.Response:
        contract = self._signed(read_signing(await request.read()))
        return web.json_response(write_stored(contract, shape, answer=True))

    async def _sign_and_store(self, request: web.Request, shape: PoolShape) -> web.Response:
        contract = self._signed(read_signing(await request.read()))
        await self._store(contract)
        return web.json_response(write_stored(contract, shape, answer=True), status=201)

    def _signed(self, contract: SealedContract) -> StoredContract:
        response = foreign_contracts.signed(contract, self._service, round(self._now().timestamp() * 1000))
        return StoredContract(emaid=contract.emaid, pcid=contract.pcid, namespace=contract.namespace, response=response)

    async def _generate(self, request: web.Request, _shape: PoolShape) -> web.Response:
        """Make a contract under the tree's MO sub-CA, for a vehicle whose provisioning certificate is in the pool."""
        order = read_order(await request.read())
        emaid, pcid = normalize_emaid(order.emaid), read_pcid(order.pcid)
        if foreign_contracts.generation_of(order.namespace) is not self._generation:
            raise CodecError(f"this service signs contracts of {self._generation.value} only")
        if not is_emaid(emaid):
            raise CodecError("not an EMAID")
        vehicle, now = self._provisioning(pcid)[0], self._now()
        begins, ends = _time(order.contract_begins), _time(order.contract_ends)
        if (days := (ends - max(begins, now)).days) < 1:
            raise CodecError("the contract ends before it begins, or in the past")
        old = self._generation is Generation.ISO15118_2
        key = new_key(KeyKind.SECP256R1 if old else KeyKind.SECP521R1, Role.CONTRACT)
        csr = load_csr(make_request(key, Role.CONTRACT, Subject(common_name=emaid)))
        name = f"{FOLDER}/contract-{emaid}-{os.urandom(4).hex()}"
        wanted = CertificateOrder(role=Role.CONTRACT, name=name, common_name=emaid, days=days, request=csr)
        async with self._signing:
            await asyncio.to_thread(issue_certificate, self._directory, wanted, at=now)
        contract = Contract(load_chain(self._directory / name / "chain.pem"), key)
        await self._store(self._signed(foreign_contracts.sealed(contract, vehicle, self._generation, os.urandom)))
        return web.Response(status=201)

    async def _signers(self, _request: web.Request, shape: PoolShape) -> web.Response:
        leaf, sub2, sub1 = (encode_base64(der) for der in self._service.chain)
        if shape == "opcp":
            found = {"cpsCertificate": leaf, "cpsCa2Certificate": sub2, "cpsCa1Certificate": sub1}
            return web.json_response({"cpsCertificates": [found]})
        chain = {"certificate": leaf, "subCa2Certificate": sub2, "subCa1Certificate": sub1}
        return web.json_response({"cpsCertificateDataCollection": [{"cpsCertificateChain": chain}]})

    # -- subscriptions

    async def _subscribe(self, request: web.Request, _shape: PoolShape) -> web.Response:
        try:
            endpoint = typed_json.decode(await request.read(), _Endpoint)
        except msgspec.DecodeError as error:
            raise CodecError(f"not an endpoint: {error}") from None
        if not endpoint.url.startswith("https://"):
            raise CodecError("an endpoint needs https://")
        number, secret = os.urandom(8).hex(), os.urandom(24).hex()
        save_secret(self._folder / _ENDPOINTS, msgspec.json.encode(self._endpoints() | {number: (endpoint, secret)}))
        created = round(self._now().timestamp())
        told = {"id": number, "created": created, "secret": secret, "url": endpoint.url}
        return web.json_response(told | {"enabledEvents": list(endpoint.enabled_events)}, status=201)

    async def _unsubscribe(self, request: web.Request, _shape: PoolShape) -> web.Response:
        left = self._endpoints()
        if left.pop(request.match_info["id"], None) is None:
            raise web.HTTPNotFound
        save_secret(self._folder / _ENDPOINTS, msgspec.json.encode(left))
        return web.Response(status=200)

    def _endpoints(self) -> dict[str, tuple[_Endpoint, str]]:
        file = self._folder / _ENDPOINTS
        return typed_json.decode(file.read_bytes(), dict[str, tuple[_Endpoint, str]]) if file.exists() else {}


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise CodecError(f"not a time: {error}") from None
