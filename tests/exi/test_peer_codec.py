"""An EXI processor that is not ours writes the same octets for instances of everything, and reads ours.

A sample runs always; `make interop` runs 200 instances of every message and of every signed element, some of every
other fragment, and every list filled. All instances are the same ones at every run.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lxml import etree
from msgspec.structs import replace

from tests.exi.amendment_schema import amendment_schema
from tests.exi.instances import Subject, documents, draw, extreme, filled, fragments, signed
from tests.exi.peer import FILES, PeerCodec
from tests.exi.peer_codec import one_line
from tests.exi.strategies import UNSPACED, Wishes
from v2g.energy.grid_support import GridSupport, SupportCurve
from v2g.exi.declare import Element, Schema
from v2g.exi.model import QName, model_of
from v2g.iso15118.d20.der import control
from v2g.iso15118.d20.messages import ac_der_iec, ac_der_sae
from v2g.iso15118.d20.messages.common_types import Receipt
from v2g.iso15118.d20.schemas import AC, AC_DER_IEC, AC_DER_SAE, COMMON_MESSAGES

pytestmark = pytest.mark.one_worker("peer_codec")  # one Java for all of them

SCHEMAS = pytest.mark.parametrize("schema", list(FILES), ids=lambda schema: schema.prefix)

XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"

NOT_EMPTY = Wishes(empty=False, alphabet=UNSPACED)
"""For empty text and octets EXI has two forms, and the peer takes the other one."""

MESSAGES = [subject for schema in FILES for subject in documents(schema)]
SIGNED = [subject for schema in FILES for subject in signed(schema)]

INSTANCES = 200
"""Of every message and of every signed element."""


def label(subject: Subject) -> str:
    return f"{subject.schema.prefix}-{subject.label}{'-fragment' if subject.is_fragment else ''}"


# A sample


@pytest.mark.some(2)
@SCHEMAS
def test_messages_are_written_alike(peer_codec: PeerCodec, schema: Schema) -> None:
    for subject in documents(schema):
        compare(peer_codec, subject, [*subject.edges(), *draw(subject.strategy(NOT_EMPTY), 1)])


@pytest.mark.some(2)
@SCHEMAS
def test_fragments_are_written_alike(peer_codec: PeerCodec, schema: Schema) -> None:
    others = fragments(schema)
    chosen = [*signed(schema), *random.Random(15118).sample(others, min(8, len(others)))]
    for subject in chosen:
        compare(peer_codec, subject, [*subject.edges(), *draw(subject.strategy(NOT_EMPTY), 2)])


def test_empty_values_are_read_in_both_forms(peer_codec: PeerCodec) -> None:
    different = 0
    for subject in signed(COMMON_MESSAGES):
        for element in draw(subject.strategy(Wishes(most=1, alphabet=UNSPACED)), 12):
            text = one_line(subject.xml(element))
            ours, theirs = subject.write(element), peer_codec.encode(subject.schema, text, fragment=True)
            different += ours != theirs
            assert subject.read(theirs) == element
            assert same(peer_codec.decode(subject.schema, ours, fragment=True)) == same(text)
    assert different


@pytest.mark.parametrize(("schema", "module"), [(AC_DER_IEC, ac_der_iec), (AC_DER_SAE, ac_der_sae)], ids=["iec", "sae"])
@pytest.mark.long
def test_messages_of_amendment_1_are_written_alike_with_full_lists(
    peer_codec: PeerCodec, schema: Schema, module: ModuleType, schema_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Ten points and ten taxes among them, which a C codec ends otherwise."""
    monkeypatch.setitem(FILES, schema, str(amendment_schema(schema, module, tmp_path, schema_folder)))
    ways = ("AC_ChargeParameterDiscoveryReq", "AC_ChargeParameterDiscoveryRes", "AC_ChargeLoopReq", "AC_ChargeLoopRes")
    messages = [
        Subject(schema, QName(name, AC.uri), is_fragment=False, label=name, declaration=getattr(module, name))
        for name in ways
    ]
    curve = SupportCurve(points=tuple((200 + n, 5 - n) for n in range(10)))
    (receipt,) = [each for each in filled(Receipt) if getattr(each, "tax_costs", ())]
    lists: list[tuple[str, dict[str, Any]]] = [("AC_ChargeLoopRes", {"receipt": receipt})]
    if schema is AC_DER_IEC:
        demands = control(GridSupport(volt_var=curve), ["volt_var"])
        rating = replace(extreme(ac_der_iec.DER_AC_CPDResEnergyTransferMode, largest=False), der_control=demands)
        lists.append(("AC_ChargeParameterDiscoveryRes", {"ac_cpd_res_energy_transfer_mode": rating}))
    for subject in (*messages, *documents(schema)):
        least = extreme(subject.declaration, largest=False)
        full = [replace(least, **what) for name, what in lists if name == subject.label]
        compare(peer_codec, subject, [*subject.edges(), *full, *draw(subject.strategy(NOT_EMPTY), 6)])


# All of it


@pytest.mark.interop
@pytest.mark.long
@pytest.mark.parametrize("subject", [*MESSAGES, *SIGNED], ids=label)
def test_every_message_and_signed_element(peer_codec: PeerCodec, subject: Subject) -> None:
    instances = [*subject.edges(), *draw(subject.strategy(NOT_EMPTY), INSTANCES)]
    assert len(instances) >= INSTANCES or not model_of(subject.declaration).particles
    compare(peer_codec, subject, instances)


@pytest.mark.interop
@pytest.mark.long
@SCHEMAS
def test_every_fragment(peer_codec: PeerCodec, schema: Schema) -> None:
    for subject in fragments(schema):
        compare(peer_codec, subject, [*subject.edges(), *draw(subject.strategy(NOT_EMPTY), 4)])


@pytest.mark.interop
@pytest.mark.long
@SCHEMAS
def test_every_list_filled_to_its_maximum(peer_codec: PeerCodec, schema: Schema) -> None:
    seen: set[type[Element]] = set()
    for subject in fragments(schema):
        if subject.declaration not in seen:
            seen.add(subject.declaration)
            compare(peer_codec, subject, filled(subject.declaration))


def compare(peer: PeerCodec, subject: Subject, instances: Iterable[Element]) -> None:
    """Let both codecs write and read."""
    for element in instances:
        text = one_line(subject.xml(element))
        ours = subject.write(element)
        assert ours.hex() == peer.encode(subject.schema, text, fragment=subject.is_fragment).hex(), text
        assert subject.read(ours) == element
        assert same(peer.decode(subject.schema, ours, fragment=subject.is_fragment)) == same(text)


def same(text: str) -> Any:
    """Return XML as what counts in it. The type of undeclared elements belongs to the coding, not to the content."""

    def simplify(node: Any) -> Any:
        attributes = {key: value for key, value in node.attrib.items() if key != XSI_TYPE}
        return (node.tag, attributes, node.text or "", [(simplify(child), child.tail or "") for child in node])

    return simplify(etree.fromstring(text.encode()))


def test_the_smallest_and_the_largest_instance_differ() -> None:
    subject = next(each for each in MESSAGES if each.label == "ServiceDetailRes")
    smallest, largest = subject.edges()
    assert len(subject.write(smallest)) < len(subject.write(largest))
    assert extreme(subject.declaration, largest=False) == smallest
