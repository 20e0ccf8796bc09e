"""An EXI processor that is not ours writes the same octets for random instances of every type, and reads ours."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from lxml import etree

from tests.exi import official
from tests.exi.strategies import Wishes, elements
from v2g.exi import encode, encode_fragment, to_xml
from v2g.exi.declare import Element, Schema
from v2g.exi.grammar import document, fragment
from v2g.iso15118.messages.schemas import APP_PROTOCOL, COMMON_MESSAGES, DC, XMLDSIG

FILES = {
    APP_PROTOCOL: official.APP_PROTOCOL,
    XMLDSIG: official.XMLDSIG,
    COMMON_MESSAGES: official.COMMON_MESSAGES,
    DC: official.DC,
}

XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"

EXAMPLES = 6
"""Instances per type and grammar."""


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["document", "fragment"])
@pytest.mark.parametrize("schema", list(FILES), ids=lambda schema: schema.prefix)
def test_both_codecs_write_the_same_octets(schema_folder: Path, schema: Schema, kind: str) -> None:
    cases = instances(schema, is_fragment=kind == "fragment")
    assert cases
    texts = [one_line(xml) for xml, _ in cases]
    streams = [octets.hex() for _, octets in cases]
    answers = ask_peer(schema_folder, schema, kind, [*texts, *streams])
    for text, stream, theirs, read in zip(texts, streams, answers, answers[len(cases) :], strict=False):
        assert stream == theirs, text
        assert same(read) == same(text)


def ask_peer(folder: Path, schema: Schema, kind: str, lines: list[str]) -> list[str]:
    java = shutil.which("java")
    if java is None:
        pytest.skip("java is not installed (Debian package openjdk-17-jre-headless)")
    program = Path(__file__).with_name("PeerCodec.java")
    done = subprocess.run(
        [java, "-cp", str(folder / "EXICodec.jar"), str(program), str(folder / FILES[schema]), kind],
        input="\n".join(lines) + "\n",
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if "does not contain the jdk.compiler module" in done.stderr or "compiler" in done.stderr[:200]:
        pytest.skip("java cannot compile here (Debian package openjdk-17-jdk-headless)")
    answers = done.stdout.splitlines()
    assert len(answers) == len(lines), done.stderr
    return answers


def instances(schema: Schema, *, is_fragment: bool) -> list[tuple[str, bytes]]:
    """Return random instances of everything that a stream may begin with, as XML and as our octets.

    Text and octets are never empty: for these EXI has two forms, and the peer takes the other one.
    """
    roots = (fragment if is_fragment else document)(schema)
    found: list[tuple[str, bytes]] = []
    for name in roots.names:
        declaration = roots.type_of(name)
        if not isinstance(declaration, type) or (not is_fragment and name.uri != schema.uri):
            continue
        if [each.local for each in roots.names_of(declaration)].count(name.local) > 1:
            continue  # a name in two namespaces: which one is meant cannot be said
        for element in draw(declaration):
            octets = encode_fragment(element, schema, name=name.local) if is_fragment else encode(element)
            found.append((to_xml(element, schema=schema, name=name.local), octets))
    return found


def draw(declaration: type[Element]) -> list[Element]:
    drawn: list[Element] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(elements(declaration, Wishes(empty=False)))
    def keep(element: Element) -> None:
        drawn.append(element)

    keep()
    return drawn


def one_line(xml: str) -> str:
    """Return our XML without the indentation, which is between elements only."""
    return re.sub(r"\n *(?=<)", "", xml)


def same(text: str) -> Any:
    """Return XML as what counts in it. The type of undeclared elements belongs to the coding, not to the content."""

    def simplify(node: Any) -> Any:
        attributes = {key: value for key, value in node.attrib.items() if key != XSI_TYPE}
        return (node.tag, attributes, node.text or "", [(simplify(child), child.tail or "") for child in node])

    return simplify(etree.fromstring(text.encode()))
