"""The interface document, judged by others: it is OpenAPI 3.1, and the interface does what it says (Schemathesis)."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from csms.accounts.rules import Permission
from csms.config import StationEntry
from csms.db.store import open_sqlite
from csms.http.openapi import document, resolved
from csms.http.operations import ArrayOf, Lazy
from csms.http.routes import OPERATIONS
from csms.requests.rules import COMMANDS
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import daytime_ms, running_backend
from tests.csms.databases import running_cluster
from tests.csms.support import STATION, make_config
from tests.ocpp.official import validator
from tests.together import together
from v2g.ocpp.routes import Version, known, request_type
from v2g.ocpp.versions import read_payload

DOCUMENT = document(OPERATIONS)
LEFT_OUT = (
    "unsupported_method", "ignored_auth",  # ask over a network of their own
    "positive_data_acceptance", "negative_data_rejection",  # know nothing of the state of things
    "not_a_server_error",  # 501 is what the station here says; 500 is looked for below
)  # fmt: skip


def test_the_document_is_openapi_3_1_as_its_authors_define_it() -> None:
    OPENAPI_31_VALIDATOR.validate(DOCUMENT)


def test_every_route_is_described_with_permission_errors_and_security() -> None:
    described = [each for path in DOCUMENT["paths"].values() for each in path.values()]
    assert {each["operationId"] for each in described} == {each.name for each in OPERATIONS}
    for each in described:
        assert each["summary"], each["operationId"]
        assert not each["description"][:1].islower(), "its summary ends within a sentence"
        assert each["tags"]
        public = each["x-permission"] == Permission.PUBLIC.value
        assert public == (each["security"] == [])
        errors = {status for status in each["responses"] if status >= "4"}
        assert errors >= {"429", "500", "503"} | (set() if public else {"401", "403"})
        for status in errors:
            assert list(each["responses"][status]["content"]) == ["application/problem+json"]


@pytest.mark.requirement("R53")
def test_signals_of_telemetry_have_types_and_units() -> None:
    named = DOCUMENT["components"]["schemas"]["Record"]["properties"]["signals"]["properties"]
    wanted = ("battery.soc", "battery.power", "grid.frequency")
    assert [(named[each]["type"], named[each]["unit"]) for each in wanted] == [
        ("number", "%"), ("number", "W"), ("number", "Hz"),
    ]  # fmt: skip


def test_every_body_has_an_example_that_would_be_taken() -> None:
    for number, each in enumerate(OPERATIONS):
        if each.takes is None:
            continue
        content = DOCUMENT["paths"][each.path][each.method.lower()]["requestBody"]["content"]["application/json"]
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        if number % 8 == 0:  # a validator takes its time to be made
            jsonschema_rs.Draft202012Validator(schema).validate(content["example"])
        kinds = each.takes.kinds if isinstance(each.takes, ArrayOf) else (each.takes,)
        examples = content["example"] if isinstance(each.takes, ArrayOf) else [content["example"]]
        for kind, example in zip(kinds, examples, strict=True):
            kind = kind.load() if isinstance(kind, Lazy) else kind
            msgspec.json.decode(msgspec.json.encode(example), type=kind)


def test_every_answer_in_json_has_an_example_that_clients_can_read() -> None:
    for each in OPERATIONS:
        answer = DOCUMENT["paths"][each.path][each.method.lower()]["responses"][str(each.status)]
        for media_type, content in answer.get("content", {}).items():
            if media_type == "application/json" and content["schema"] != {"type": "string"}:
                msgspec.json.decode(msgspec.json.encode(content["example"]), type=resolved(each.answer))


def test_the_document_has_only_what_generators_of_clients_take() -> None:
    """Names of classes, `items` of each array that is no tuple, and no schema that is a boolean."""
    assert all(name.isidentifier() for name in DOCUMENT["components"]["schemas"])
    todo: list[Any] = [DOCUMENT]
    while todo:
        match todo.pop():
            case {"type": "array", **more}:
                assert isinstance(more.get("items", more.get("prefixItems")), (dict, list)), more
                todo += more.values()
            case dict(found):
                todo += found.values()
            case list(found):
                todo += found


@together("action", COMMANDS)
def test_the_example_of_a_command_is_a_request_of_ocpp(action: str) -> None:
    path = DOCUMENT["paths"][f"/stations/{{station_id}}/commands/{action}"]
    example = path["post"]["requestBody"]["content"]["application/json"]["example"]
    version: Version = "2.0.1" if action in known("2.0.1") else "2.1" if action in known("2.1") else "1.6"
    schema = action if version == "1.6" else f"{action}Request"
    assert not [error.message for error in validator(schema, version).iter_errors(example)]
    read_payload(msgspec.json.encode(example), request_type(action, version), version)


class Bench:
    """A back end with a station that answers whatever it is asked with NotSupported."""

    def __init__(self, runner: asyncio.Runner, folder: Path, pki: PkiTree, store_url: str) -> None:
        self._runner = runner
        self._store_url = store_url
        self._folder = folder
        self._pki = pki
        self._done = asyncio.Event()
        self._ready: asyncio.Future[ApiClient]
        self._task: asyncio.Task[None]

    async def _serve(self) -> None:
        open_sqlite(self._folder / "empty" / "csms.sqlite3").close()
        config = make_config(
            self._folder,
            self._pki,
            stations=(StationEntry(id=STATION),),
            api={"requests_at_once": 1_000_000},
            store_url=self._store_url,
        )
        now_ms = daytime_ms()
        empty = self._folder / "empty" / "csms.sqlite3"
        async with running_backend(config, empty, now_ms) as backend, serving(backend) as ask:
            station = await backend.booted(STATION, version="2.1")
            station.refuses_others = True
            self._ready.set_result(ask)
            await self._done.wait()

    async def _start(self) -> ApiClient:
        self._ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve())
        await asyncio.wait({self._ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        return await self._ready if self._ready.done() else (await self._task, await self._ready)[1]

    async def _stop(self) -> None:
        self._done.set()
        await self._task

    def __enter__(self) -> "Bench":
        self.ask = self._runner.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._stop())

    def send(self, case: schemathesis.Case) -> httpx.Response:
        """Send a generated request, to the station that is there."""
        if "station_id" in (case.path_parameters or {}) and not case.path.startswith(
            "/admissions"
        ):  # who stays connected
            case.path_parameters["station_id"] = STATION
        request = httpx.Request(**{**case.as_transport_kwargs(base_url="http://back-end"), "cookies": None})
        target = request.url.raw_path.decode()
        headers = {name.replace("-", "_"): value for name, value in (case.headers or {}).items()}
        coming = self.ask(case.method.upper(), target, request.content, **headers)
        answer = self._runner.run(asyncio.wait_for(coming, 20))
        response = httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body, request=request)
        response.elapsed = timedelta(0)
        return response


def check(folder: Path, pki: PkiTree, *, every: int, examples: int, store_url: str = "") -> int:
    """Send `examples` generated requests to every so many-th route; return to how many routes."""
    schema, tested = schemathesis.openapi.from_dict(DOCUMENT), 0
    excluded = [CHECKS.get_one(name) for name in LEFT_OUT]
    streams = {each.name for each in OPERATIONS if each.streams}
    with asyncio.Runner() as runner, Bench(runner, folder, pki, store_url) as bench:
        for number, found in enumerate(schema.get_all_operations()):
            operation = found.ok()
            if number % every or operation.definition.raw["operationId"] in streams:
                continue

            @settings(
                max_examples=examples,
                phases=[Phase.generate],
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(operation.as_strategy())
            def ask(case: schemathesis.Case) -> None:
                response = bench.send(case)
                assert response.status_code != 500, response.text
                case.validate_response(response, excluded_checks=excluded)

            ask()
            tested += 1
    return tested


@pytest.mark.long
def test_routes_do_what_the_document_says(tmp_path: Path, pki: PkiTree) -> None:
    assert check(tmp_path, pki, every=16, examples=1) > 7


@pytest.mark.long
def test_every_route_does_what_the_document_says_at_length(tmp_path: Path, pki: PkiTree) -> None:
    assert check(tmp_path, pki, every=1, examples=25) == sum(not each.streams for each in OPERATIONS)


@pytest.mark.long
def test_every_route_does_so_on_postgresql(tmp_path: Path, pki: PkiTree) -> None:
    with running_cluster() as cluster:
        url = cluster.url(cluster.create())
        tested = check(tmp_path, pki, every=1, examples=10, store_url=url)
        assert tested == sum(not each.streams for each in OPERATIONS)


@pytest.mark.long
def test_a_route_that_breaks_its_document_is_found(tmp_path: Path, pki: PkiTree, monkeypatch: Any) -> None:
    wrong = {**DOCUMENT, "paths": {"/health": DOCUMENT["paths"]["/health"]}}
    content = {"application/json": {"schema": {"type": "array"}}}
    answer = {**wrong["paths"]["/health"]["get"]["responses"]["200"], "content": content}
    broken = {**wrong["paths"]["/health"]["get"], "responses": {"200": answer, "304": {"description": "same"}}}
    monkeypatch.setitem(globals(), "DOCUMENT", {**wrong, "paths": {"/health": {"get": broken}}})
    with pytest.raises(BaseExceptionGroup):
        check(tmp_path, pki, every=1, examples=1)
