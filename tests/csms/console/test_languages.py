"""Pages in the language of the browser, by catalogues that belong to the templates."""

import ast
import importlib.resources
import re
from collections.abc import Iterator
from contextvars import copy_context
from datetime import datetime
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from jinja2 import nodes
from jinja2.runtime import Context

from csms.accounts.rules import Role
from csms.alerts.pages import HOURS, SEVERITIES, VIEWS
from csms.booking import plausibility
from csms.booking.pages import BULK as DECIDED
from csms.booking.pages import DECISIONS, REASONS, STATES
from csms.booking.store import State
from csms.books.reports import Grouping
from csms.catalogues import catalogues
from csms.console.frame import AREAS
from csms.console.languages import WORDS, language_of, point_of, texts_of
from csms.console.listing import INSTALLED
from csms.console.present import BOUNDS, MONTHS, STATUS, STEPS, environment, fact, money, percent, power, price, time
from csms.console.visit import shown_now_ms, shown_point, shown_zone
from csms.device_model.pages import MUTABLE
from csms.drivers.pages import SHOWN as DRIVERS
from csms.drivers.pages import STATES as DRIVERS_STATES
from csms.firmware.pages import STATES as CAMPAIGN_STATES
from csms.settlements.rules import SHOWN
from csms.stations.listed import StationState
from csms.stations.pages import ACTS, BULK
from csms.tariffs.pages import DAYS, HOLIDAYS, TO, WEEKDAYS, WEEKLY
from csms.tokens.pages import VIEWS as TOKEN_VIEWS
from tests.csms.api.support import ApiClient
from tests.csms.console.support import Person, employ, text_of
from v2g.asn1.discharge import DecisionReason
from v2g.energy.price_plan import KINDS
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.messages.transactions import ChargingState, Reason, TriggerReason

TEMPLATES = importlib.resources.files("csms.console") / "templates"
PROGRAM = [
    each.read_text()
    for name in ("console/*.py", "*/pages.py", "alerts/sentences.*", "overview/rules.py", "stations/importing.py")
    for each in Path(str(TEMPLATES)).parents[1].glob(name)
]
SOURCES = {each.name: each.read_text("utf-8") for each in TEMPLATES.iterdir() if each.name.endswith(".html")}


BILLED = {each.replace("_", " ") for each in KINDS}
"""What the lines of a bill are of."""

CODE = re.compile(r"(v2g csms|POST) .+|(· )?v2g-engine|OpenAPI [\d.]+|/kWh|\W+")
"""What is the same in every language."""


@pytest.mark.parametrize("language", catalogues())
def test_no_text_of_a_page_is_missing_in_a_catalogue(language: str) -> None:
    missing = {
        text: name
        for name, source in SOURCES.items()
        for text in (texts_of(source) | expressed(source)) - catalogues()[language].keys()
    }
    assert {text: name for text, name in missing.items() if not CODE.fullmatch(text)} == {}
    assert {
        *STATUS,
        *STEPS.values(),
        *WORDS,
        *MONTHS,
        *BOUNDS.values(),
        *get_args(State),
        *words(),
        *AREA_NAMES,
        *LABELS,
        *CAMPAIGN_STATES,
        *BILLED,
    } - catalogues()[language].keys() == set()


AREA_NAMES = {each.name for each in AREAS.values()} | {text for each in AREAS.values() for text in each.tabs.values()}

LABELS = {
    *get_args(StationState),
    *(text for each in ACTS.values() for text in each),
    *(text for each in DECISIONS.values() for text in each[1:]),
    *BULK.values(),
    *DECIDED.values(),
    *STATES.values(),
    *(REASONS.get(each, each) for each in get_args(plausibility.Reason)),
    *INSTALLED.values(),
    *TOKEN_VIEWS.values(),
    *(text for text, _ in DRIVERS.values()),
    *DRIVERS_STATES.values(),
    *("Not connected", "Free", "Ended"),
    *(text for each in (DAYS, HOLIDAYS, TO, WEEKLY) for text in each.values()),
    *WEEKDAYS,
    *MUTABLE.values(),
    *(
        "All",
        "silent",
        "current",
        "Ready",
        "Cannot be issued",
        "issued",
        "own",
        "New tariff",
        "Health of batteries",
        "Add stations …",
    ),
    *VIEWS.values(),
    *SEVERITIES.values(),
    *HOURS.values(),
}

SHOWS = {"send": (2, 4), "field": (1, 2), "choice": (1,), "chips": (1,)}
"""Arguments of macros that a page shows."""


def expressed(source: str) -> set[str]:
    """Return the texts in expressions of a template: those that go through `said`, and arguments of macros."""
    tree = environment().parse(source)
    filters = [*tree.find_all(nodes.Filter)]
    found = [each.node for each in filters if each.name in ("said", "filled")]
    found += [text for each in filters if each.name == "counted" for text in each.args]
    for call in tree.find_all(nodes.Call):
        shown = SHOWS.get(getattr(call.node, "name", ""), ())
        found += [call.args[at] for at in shown if at < len(call.args)]
        for pair in call.find_all(nodes.Pair) if shown else ():
            found += [pair.value] if pair.key == nodes.Const("what") else []
    return set().union(*map(said_by, found)) - {""}


def said_by(node: nodes.Node | None) -> set[str]:
    """Return the texts that an expression may be."""
    match node:
        case nodes.Const(value=str(text)):
            return {text}
        case nodes.CondExpr():
            return said_by(node.expr1) | said_by(node.expr2)
        case nodes.Or():
            return said_by(node.left) | said_by(node.right)
    return set()


def words() -> set[str]:
    """Return the names of facts in a timeline, and reasons in them."""
    reasons = {each.value.replace("_", " ") for each in DecisionReason}
    return reasons | {*get_args(Grouping)} | {fact(name) for names in SHOWN.values() for name in names}


def spoken(source: str) -> Iterator[ast.expr]:
    """Yield texts in the source of a module that a page shows: notices of `visit.see`, problems, names of charts."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Return) and isinstance(call.value, ast.Tuple) and call.value.elts:
            yield call.value.elts[0]
        if isinstance(call, ast.Assign) and ast.unparse(call.targets[0]) in ("empty", "rows, empty"):
            yield call.value.elts[1] if isinstance(call.value, ast.Tuple) else call.value
        if isinstance(call, ast.Call):
            match ast.unparse(call.func):
                case "visit.see" | "ApiError":
                    yield from call.args[1:]
                case "chart" | "ChartLine":
                    yield call.args[0]
                case "Said" | "visit.said":
                    yield call.args[0]
                case "Field" | "Column":
                    yield call.args[1]
                case "Act":
                    yield from call.args[1:4:2]
                case "_wrong":
                    yield call.args[2]
                case "Listing":
                    yield from (each.value for each in call.keywords if each.arg in ("title", "empty"))
                case "FirstStep":
                    yield from (call.args[0], call.args[2])
                case "Sentence":
                    yield from call.args[:3]
                case "Question":
                    yield from (each.value for each in call.keywords if each.arg in ("text", "button"))


def constants(text: ast.expr) -> set[str]:
    """Return the texts that an expression may be."""
    if isinstance(text, ast.IfExp):
        return constants(text.body) | constants(text.orelse)
    return {text.value} if isinstance(text, ast.Constant) and isinstance(text.value, str) else set()


@pytest.mark.parametrize("language", catalogues())
def test_no_notice_or_problem_or_chart_is_missing_in_a_catalogue(language: str) -> None:
    found = [text for source in PROGRAM for text in spoken(source)]
    said = set().union(*map(constants, found))
    assert len(said) > 50
    assert {each for each in said if not CODE.fullmatch(re.sub(r"\{\w+\}", "", each) or "-")} - catalogues()[
        language
    ].keys() == set()


def test_a_notice_has_its_values_beside_the_text_which_is_translated() -> None:
    for source in PROGRAM:
        for call in ast.walk(ast.parse(source)):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "visit.see":
                assert not any(isinstance(each, ast.JoinedStr) for each in call.args[1:]), ast.unparse(call)


@pytest.mark.parametrize("language", catalogues())
def test_a_translation_has_the_fields_of_its_text(language: str) -> None:
    fields = re.compile(r"\{\w+\}")
    for text, translated in catalogues()[language].items():
        assert sorted(fields.findall(text)) == sorted(fields.findall(translated)), text


@pytest.mark.parametrize("language", catalogues())
def test_a_catalogue_has_only_texts_of_templates_and_leaves_them_valid(language: str) -> None:
    known = set().union(*map(texts_of, SOURCES.values()), *map(expressed, SOURCES.values()))
    known |= (
        words()
        | LABELS
        | BILLED
        | WORDS.keys()
        | set().union(*(constants(text) for source in PROGRAM for text in spoken(source)))
    )
    known |= {text for source in (*SOURCES.values(), *PROGRAM) for text in re.findall(r'"([^"\n]+)"', source)}
    assert catalogues()[language].keys() - known == set()
    made = environment()
    for name, source in SOURCES.items():
        translated = made.loader.get_source(made, f"{language}/{name}")[0]  # type: ignore[union-attr]  # it has one
        made.parse(translated)
        for mark in ("{%", "{{", "<form", 'name="'):
            assert translated.count(mark) == source.count(mark), (name, mark)
        assert made.loader.get_source(made, f"en/{name}")[0] == source  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("fr,de;q=0.5", "de"),
        ("en-GB,de", "en"),
        ("../de", "en"),
        ("xx" * 999, "en"),
    ],
)
def test_the_language_is_the_first_that_browser_and_console_have(accepted: str, language: str) -> None:
    assert language_of(accepted) == language


def test_ocpps_words_for_sessions_and_connectors_are_words_on_a_page() -> None:
    named = (get_args(each)[0] for each in (Reason, TriggerReason))
    ocpps = {word for each in (ChargingState, ConnectorStatus, *named) for word in get_args(each)}
    assert ocpps - catalogues()["de"].keys() == set()
    page = environment().from_string("{% from 'parts.html' import state with context %}{{ state(word) }}")
    shown = [re.sub(r"<.*?>", "", page.render(word=each, asset=str)) for each in ocpps]
    assert [each for each in shown if re.search(r"[a-z][A-Z]|[A-Z]{2}", each)] == []
    assert "Vehicle connected" in shown


async def test_pages_are_in_the_language_of_the_browser(ask: ApiClient) -> None:
    stranger = Person(ask)
    page = await stranger.get("/console/login", accept_language="de-DE,de;q=0.9")
    assert '<html lang="de">' in page.body.decode()
    assert "Anmelden" in text_of(page)
    ada = await employ(ask, "ada", Role.ADMIN)
    overview = text_of(await ada.get("/console", accept_language="de"))
    for word in ("Heute", "Vorgänge", "Verbundene Stationen", "Abmelden"):
        assert word in overview
    assert "Stations connected" in text_of(await ada.get("/console"))


async def test_notices_and_questions_are_in_the_language_of_the_browser(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    for said in ("04A1B2C3 darf laden.", "04A1B2C3 is known already"):  # a problem with a name in it stays English
        await ada.send("/console/tokens", {"token": "04A1B2C3", "type": "ISO14443"})
        page = await ada.get("/console/tokens", accept_language="de")
        assert said in text_of(page)
    assert 'data-confirm="04A1B2C3 sperren?"' in page.body.decode()
    assert (await ada.send("/console/v2g/setpoint", {"power_kw": "-0,5"})).status == 200
    await ada.send("/console/v2g/setpoint", {"power_kw": "much"})
    assert "Die Leistung ist eine Zahl in kW unter 0 aus den Fahrzeugen" in text_of(
        await ada.get("/console/v2g", accept_language="de")
    )


async def test_fuses_in_the_list_of_sites_have_the_decimal_sign_of_the_language(ask: ApiClient) -> None:
    site = {"id": "depot", "nodes": [{"id": "main", "limits": [160_000, 62_500, 62_500]}], "places": []}
    await ask("PUT", "/sites/depot", site)
    ada = await employ(ask, "ada", Role.ADMIN)
    for language, shown in (("en", "main: 160 / 62.5 / 62.5"), ("de", "main: 160 / 62,5 / 62,5")):
        assert shown in text_of(await ada.get("/console/sites", accept_language=language))


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("en", "1_234.50 EUR|1_235 JPY|0.500 BHD|0.2751|\u22121_234.5 kW|7.5 %|\u2013"),
        ("de", "1_234,50 EUR|1_235 JPY|0,500 BHD|0,2751|\u22121_234,5 kW|7,5 %|\u2013"),
    ],
)
def test_figures_have_the_decimal_sign_of_the_language_and_the_digits_of_the_currency(
    language: str, shown: str
) -> None:
    def amount(currency: str) -> str:
        return money({"amount": "0.5" if currency == "BHD" else "1234.5", "currency": currency})

    def figures() -> list[str]:
        shown_point.set(point_of(language))
        return [*map(amount, ("EUR", "JPY", "BHD")), price(275_100), power(-1_234_500), percent(7.5), price(None)]

    signs = {"\u2009": "_", "\u00a0": " "}
    assert "|".join(copy_context().run(figures)).translate(str.maketrans(signs)) == shown


@pytest.mark.parametrize(
    ("language", "at", "shown"),
    [
        ("en", "2026-11-26T00:02:33", "00:02"),
        ("en", "2026-11-25T23:59:59", "25 Nov, 23:59"),
        ("de", "2026-03-01T09:12:00", "1. März, 09:12"),
        ("en", "2027-11-24T12:00:00", "24 Nov 2027, 12:00"),
        ("de", "1970-01-01T01:00:00", "1. Jan. 1970, 01:00"),
    ],
)
def test_a_time_has_the_date_that_is_not_todays_and_the_year_that_is_not_this_one(
    language: str, at: str, shown: str
) -> None:
    berlin = ZoneInfo("Europe/Berlin")

    def drawn() -> str:
        shown_zone.set(berlin)
        shown_now_ms.set(round(datetime(2026, 11, 26, 23, 30, tzinfo=berlin).timestamp() * 1000))
        page = Context(environment(), {}, f"{language}/session.html", {})
        return time(page, round(datetime.fromisoformat(at).replace(tzinfo=berlin).timestamp() * 1000))

    assert re.fullmatch(
        rf'<time datetime=".*Z?" title="{at.replace("T", " ")} CET">{shown}</time>', copy_context().run(drawn)
    )
