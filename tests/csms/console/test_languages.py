"""Pages in the language of the browser, by catalogues that belong to the templates."""

import importlib.resources
import re
from datetime import UTC
from pathlib import Path
from typing import get_args

import pytest

from csms.console.languages import catalogues, language_of, texts_of
from csms.console.present import BOUNDS, STEPS, environment
from csms.db.queries.reviews import State
from csms.domain.security.access import Role
from tests.csms.api.support import ApiClient
from tests.csms.console.support import Person, employ, text_of

TEMPLATES = importlib.resources.files("csms.console") / "templates"
PROGRAM = [each.read_text() for each in Path(str(TEMPLATES)).parent.glob("*.py")]
SOURCES = {each.name: each.read_text("utf-8") for each in TEMPLATES.iterdir() if each.name.endswith(".html")}


CODE = re.compile(r"(v2g csms|POST) .+|v2g-engine|OpenAPI [\d.]+|\W+")
"""What is the same in every language."""


@pytest.mark.parametrize("language", catalogues())
def test_no_text_of_a_page_is_missing_in_a_catalogue(language: str) -> None:
    missing = {
        text: name for name, source in SOURCES.items() for text in texts_of(source) - catalogues()[language].keys()
    }
    assert {text: name for text, name in missing.items() if not CODE.fullmatch(text)} == {}
    assert {*STEPS.values(), *BOUNDS.values(), *get_args(State)} - catalogues()[language].keys() == set()


@pytest.mark.parametrize("language", catalogues())
def test_a_catalogue_has_only_texts_of_templates_and_leaves_them_valid(language: str) -> None:
    known = set().union(*map(texts_of, SOURCES.values()))
    known |= {text for source in (*SOURCES.values(), *PROGRAM) for text in re.findall(r'"([^"\n]+)"', source)}
    assert catalogues()[language].keys() - known == set()
    made = environment(UTC)
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


async def test_pages_are_in_the_language_of_the_browser(ask: ApiClient) -> None:
    stranger = Person(ask)
    page = await stranger.get("/console/login", accept_language="de-DE,de;q=0.9")
    assert '<html lang="de">' in page.body.decode()
    assert "Anmelden" in text_of(page)
    ada = await employ(ask, "ada", Role.ADMIN)
    overview = text_of(await ada.get("/console", accept_language="de"))
    for word in ("Übersicht", "Ladevorgänge", "Verbundene Stationen", "Abmelden"):
        assert word in overview
    assert "Stations connected" in text_of(await ada.get("/console"))
