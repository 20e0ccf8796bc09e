"""Pages are up to date with the code, complete, and lead nowhere that does not exist."""

import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from typer.main import get_command

from csms.http.routes import OPERATIONS
from csms.sites.rules import Place, Site
from docs import charts, configuration, generate
from secc.evse.core import CHARTS
from tests.browser.tutorial import SHOWN
from tests.docs.documents import ROOT, WAIT, File, pages, steps, words
from tests.together import together
from v2g.energy.price_plan import PricePlan, When
from v2g.iso15118.engine.sequence import edges
from v2g_cli.demo import broker
from v2g_cli.main import app

pytestmark = pytest.mark.one_worker("pages")  # what pages are made of takes seconds, and is kept for all of them

DOCS = ROOT / "docs"
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_GENERATED = re.compile(r"^<!-- generated.*?^<!-- end of generated -->", re.DOTALL | re.MULTILINE)
_FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made where it is shown."""
    headings = re.findall(r"^#+ (.*)$", _FENCED.sub("", whole(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


@cache
def whole(page: Path) -> str:
    """Return a page as the site shows it; tables of injected faults, which run for long, lead nowhere."""
    return generate.render(page.read_text(), whole=page.stem != "injected-faults")


def _picture(name: str) -> str:
    return next(make() for file, make in generate.pictures().items() if file.stem == name)


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_generated_parts_are_what_the_code_says(page: Path) -> None:
    text = page.read_text()
    assert generate.render(text) == text, "run `python docs/generate.py`"


@together("page", pages(), ids=_name)
def test_what_is_longer_than_a_person_reads_is_in_the_site_alone(page: Path) -> None:
    long = [part for part in _GENERATED.findall(page.read_text()) if len(part.split()) > 2_000]
    assert not long, "add the part to LONG of docs/generate.py"


def test_the_tutorial_s_pictures_are_those_that_the_browser_s_tests_make_and_small() -> None:
    page = (DOCS / "tutorials" / "first-day-as-an-operator.md").read_text()
    shown = re.findall(r"!\[[^\]]+\]\(\.\./pictures/console-([\w-]+)\.webp\)", page)
    assert sorted(shown) == sorted(SHOWN)
    for name in SHOWN:
        picture = (DOCS / "pictures" / f"console-{name}.webp").read_bytes()
        assert (picture[8:12], len(picture) < 50_000) == (b"WEBP", True), name
    assert len(list((DOCS / "pictures").glob("*.webp"))) == len(SHOWN)


def test_the_readme_s_animated_pictures_are_small_move_and_load_nothing() -> None:
    text = (ROOT / "README.md").read_text()
    shown = re.findall(r"docs/pictures/([\w-]+)\.svg", text)
    assert shown == ["session-dark", "session-light", "console-dark", "console-light"]
    for name in shown:
        picture = (DOCS / "pictures" / f"{name}.svg").read_text()
        assert len(picture.encode()) < 400_000, f"{name}: make animations"
        elements = list(ElementTree.fromstring(picture).iter())
        kinds = {each.tag.removeprefix("{http://www.w3.org/2000/svg}") for each in elements}
        assert kinds <= {"svg", "style", "text", "tspan", "line", "polyline", "title", "clipPath", "rect", "image"}
        assert not [key for each in elements for key in each.attrib if key.startswith("on")]
        links = [value for each in elements for key, value in each.attrib.items() if key.endswith("href")]
        assert all(each.startswith("data:image/webp;base64,UklGR") for each in links)
        style = "".join(each.text or "" for each in elements if each.tag.endswith("style"))
        assert set(re.findall(r"url\((.*?)\)|(@import)", style)) <= {("#past", "")}
        turns = [each for each in elements if "turn" in each.get("class", "").split()]
        assert len(turns) >= 7
        assert "@keyframes turn" in style


@together("picture", generate.pictures(), ids=lambda each: each.name)
def test_pictures_are_what_the_code_says(picture: Path) -> None:
    assert picture.read_text() == generate.pictures()[picture](), "run `python docs/generate.py`"
    names = ("sequence-chart.md", "iso15118-2.md", "din70121.md", "speed.md", "evse-states.md")
    pages = [DOCS / "reference" / name for name in names] + [DOCS / "how-to" / "find-the-weak-pack.md"]
    assert any(f"{picture.parent.name}/{picture.name})" in page.read_text() for page in pages)


@together("name", ["DC", "AC", "WPT", "ACDP", "SCHEDULE_RENEGOTIATION", "ISO2_AC", "ISO2_DC", "DIN"])
def test_a_picture_shows_every_state_and_every_way(name: str) -> None:
    """All but SessionStopReq, and what leads from a state to itself is marked as such."""
    chart = generate.drawn_chart(name)
    drawn = ElementTree.fromstring(_picture(name.lower()))
    texts = ["".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    titles = ["".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}title")]
    for state, request, edge in edges(chart):
        assert state.value in texts
        if request == "SessionStopReq" and state is not charts.stopping(chart):
            continue
        word = request.removesuffix("Req")
        if edge.to is state:
            assert any(each.startswith(f"{word} ↻") for each in texts), (state, request)
        else:
            assert any(each.startswith(f"{word} ") and each.endswith(f"leads to {edge.to.value}") for each in titles)


def test_no_two_lanes_of_a_picture_meet() -> None:
    for name in ("DC", "AC", "WPT", "ACDP", "ISO2_AC", "ISO2_DC", "DIN"):
        spans = charts.spans_of(charts.placed(charts.ways_of(generate.drawn_chart(name))))
        lanes = charts.lanes_of(spans)
        for one, other in itertools.combinations(spans, 2):
            apart = spans[one][1] < spans[other][0] or spans[other][1] < spans[one][0]
            assert lanes[one] != lanes[other] or apart, (one, other)


def test_the_picture_of_an_evse_shows_every_state_and_every_way() -> None:
    drawn = ElementTree.fromstring(_picture("evse"))
    texts = ["".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    titles = ["".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}title")]
    for chart in CHARTS.values():
        for state, ways in chart.items():
            assert state.value in texts
            assert all(f"{event} leads to {to.value}" in titles for event, to in ways.items())


@together("page", pages(), ids=_name)
@pytest.mark.long
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(_FENCED.sub("", whole(page))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        missing = not path.exists() or (anchor and path.suffix == ".md" and anchor not in _anchors(path))
        if missing:
            broken.append(target)
    assert not broken


@together("page", pages(), ids=_name)
def test_lines_are_no_wider_than_120(page: Path) -> None:
    """Tables, shown output and generated parts are as wide as they are."""
    text = _FENCED.sub("", _GENERATED.sub("", page.read_text()))
    wide = [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")]
    assert not wide


@together("page", pages(), ids=_name)
def test_configuration_keys_exist(page: Path) -> None:
    keys = configuration.keys()
    sections = {key.partition(".")[0] for key in keys}
    text = _FENCED.sub("", _GENERATED.sub("", page.read_text()))
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?: = [^`]*)?`", text)
    unknown = [key for key in named if key.split(".")[0] in sections and key not in keys]
    assert not [key for key in unknown if not key.endswith((".json", ".toml"))]


def test_every_configuration_key_says_what_it_means() -> None:
    """More than its unit, and where its section is described."""
    tables = [*(configuration.program(name) for name in configuration.PROGRAMS), configuration.shared()]
    rows = [line for table in tables for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) > 500
    meanings = [re.split(r"(?<!\\)\|", row)[-2].strip() for row in rows]
    assert not [row for row, meaning in zip(rows, meanings, strict=True) if meaning[:1] in ("", ",", ";")]


_NAMED = re.compile(r"(?<!b\")(?<![\w/.-])v2g ([a-z][^\n`\"'<;|)&]*)")
"""A command in a text."""


def _misnamed(text: str, top: Any) -> Iterator[str]:
    """Yield commands that do not exist, or lack an option; other words may follow `v2g`."""
    for named in _NAMED.findall(text.replace("\\\n", " ")):
        context, options, words = top, {"--help": True}, iter(named.split())
        for word in (each.rstrip(".,:") for each in words):
            below = context.command.list_commands(context) if hasattr(context.command, "list_commands") else ()
            if word in below:
                context = context.command.get_command(context, word).make_context(
                    word, [], parent=context, resilient_parsing=True
                )
                options |= {
                    name: getattr(each, "is_flag", True) for each in context.command.params for name in each.opts
                }
            elif context is top or word in ("--", "--help") or word[:1] == "{":
                break
            elif word.startswith("--") and word.partition("=")[0] not in options:
                yield named
            elif not options.get(word, True) and "=" not in word:
                next(words, "")
            elif below and not word.startswith("--") and re.fullmatch("[a-z-]+", word):
                yield named
                break


@pytest.mark.long
def test_each_command_that_a_text_names_exists_with_its_options() -> None:
    """In pages, in hints and docstrings of programs, and in templates of the console."""
    top = get_command(app).make_context("v2g", [], resilient_parsing=True)
    programs = {file.parent for file in ROOT.glob("*/__init__.py")} - {ROOT / "tests", ROOT / "benchmarks"}
    sources = [file for each in programs for kind in ("*.py", "*.html") for file in each.rglob(kind)]
    files = [*pages(), *sources]
    assert [f"{file}: {each}" for file in files for each in _misnamed(file.read_text("utf-8"), top)] == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    listed = {(DOCS / target.partition("#")[0]).resolve() for target in _LINK.findall(index)}
    assert not {page for page in DOCS.rglob("*.md") if page.name != "README.md"} - listed


def test_what_runs_on_leaves_the_reader_a_prompt() -> None:
    """A command in the background ends in `&`, with the variables of the same shell, else it has a terminal of its own.
    A tutorial ends what it began, as the next one needs the ports."""
    for page in pages():
        text = page.read_text()
        ends = [line.partition(WAIT)[0] for line in text.splitlines() if WAIT in line]
        behind = [each for each in ends if each.endswith(" &")]
        assert behind == ends or "terminal of its own" in text or "own terminal" in text, page
        assert not behind or page.parent.name != "tutorials" or "kill $(jobs -p)" in text, page


def test_no_two_tutorials_make_the_same_thing_in_one_folder() -> None:
    """A reader follows them one after the other."""
    made: dict[str, str] = {}
    forms = (r"^<!-- file: (\S+) -->$", r"settlements/\* (\S+)$", r"--(?:out|chart|events) (\S+)", r"--folder (\S+)")
    for page in sorted((DOCS / "tutorials").glob("*.md")):
        text = page.read_text()
        for name in {name for form in forms for name in re.findall(form, text, re.MULTILINE)}:
            assert made.setdefault(name, page.name) == page.name, f"{name} is of {made[name]}, too"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_the_pages_are_short_together() -> None:
    """What is said twice goes before the number rises."""
    assert sum(map(words, pages())) <= 60_000
    assert sum(words(ROOT / name) for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")) <= 4_500


def test_signed_discharge_names_every_status_and_reason() -> None:
    from v2g.asn1.discharge import DecisionReason, ResultStatus

    page = (DOCS / "reference" / "signed-discharge.md").read_text()
    assert not [each.value for each in (*ResultStatus, *DecisionReason) if f"`{each.value}`" not in page]


def test_the_grid_signal_page_names_every_field() -> None:
    from v2g.energy.grid_signal import GridSignal, SignalSlot

    page = (DOCS / "reference" / "grid-signal.md").read_text()
    names = (*GridSignal.__struct_fields__, *SignalSlot.__struct_fields__)
    assert not [name for name in names if f"`{name}`" not in page]


def test_exit_codes_are_those_of_the_errors() -> None:
    from v2g.errors import V2GError

    def codes(kind: type[V2GError]) -> set[int]:
        return {kind.exit_code}.union(*(codes(each) for each in kind.__subclasses__()))

    page = (DOCS / "reference" / "exit-codes.md").read_text()
    assert codes(V2GError) <= {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}


def test_the_bundle_page_names_every_file() -> None:
    from v2g.energy.settlement.bundle import LISTED, MANIFEST, SIGNATURE

    page = (DOCS / "reference" / "settlement-bundle.md").read_text()
    assert not [name for name in (*LISTED, MANIFEST, SIGNATURE) if f"`{name}`" not in page]


def test_the_http_page_names_every_route() -> None:
    page = whole(DOCS / "reference" / "http-api.md")
    for each in OPERATIONS:
        action = each.path.partition("/commands/")[2]
        assert (action in page) if action else (f"`{each.method} {each.path}`" in page), each.name


def test_the_tariff_page_names_every_field_and_its_plan_is_one() -> None:
    text = (DOCS / "reference" / "tariffs.md").read_text()
    for field in (*PricePlan.__struct_fields__, *When.__struct_fields__):
        assert f"`{field}`" in text, field
    plan = msgspec.json.decode(example(text), type=PricePlan)
    assert plan.greatest is not None


def test_the_smart_charging_page_names_every_field_and_its_site_is_one() -> None:
    text = (DOCS / "reference" / "smart-charging.md").read_text()
    site = msgspec.json.decode(example(text), type=Site)
    assert len(site.places) == 2
    for field in ("limits", "parent", *Place.__struct_fields__[3:], *Site.__struct_fields__[3:]):
        assert f"`{field}`" in text, field


def example(text: str) -> str:
    """The first JSON of a page."""
    return text.split("```json\n", 1)[1].split("```", 1)[0]


def test_the_broker_of_the_demo_is_set_up_as_the_documentation_says() -> None:
    """What is tried in the demo and in tests is what operators are told to do."""
    page = (DOCS / "how-to" / "set-up-a-telemetry-broker.md").read_text()
    files = {step.name: step.text for step in steps(page) if isinstance(step, File)}
    paths = {"ca": "pki/csms/root.pem", "chain": "pki/csms/broker/chain.pem", "key": "pki/csms/broker/leaf.key"}
    listener = broker.LISTENER.format(port=8883, address="", acl="acl", **paths)
    assert files["mosquitto.conf"] == listener + "crlfile crls.pem\n"
    assert files["acl"] == broker.ACL


def test_the_promises_of_telemetry_are_one_table_and_its_tests_exist() -> None:
    page = (DOCS / "reference" / "telemetry.md").read_text()
    before, _, rest = page.partition("## What is promised, by which test\n")
    table, _, behind = rest.partition("\n## ")
    named = re.compile(r"`(tests/[\w/]+\.py|test_\w+\.py|test_\w+)`")
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert [row for row in rows if not named.search(row)] == []
    assert not re.search(r"^\|.*`tests/", before + behind, re.MULTILINE), "a row outside of the table"
    tests = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    names = {path.rpartition("/")[2] for path in tests} | tests.keys()
    for text in tests.values():
        names.update(re.findall(r"def (test_\w+)", text))
    assert set(named.findall(table)) - names == set()
