"""A program pays for the messages that it uses, and for no others."""

import subprocess
import sys

import pytest

from tests.loading import loaded

LOADED = """
import sys
from v2g.exi import decode, encode
from v2g.iso15118.select import NAMESPACES
uri, octets = sys.stdin.read().split()
encode(decode(bytes.fromhex(octets), NAMESPACES[uri]))
declarations = [name for name, each in sys.modules.items() if ".messages." in name or hasattr(each, "ELEMENTS")]
print(*sorted(name.removeprefix("v2g.iso15118.") for name in declarations))
"""

DIN = (
    *(f"din.messages.{name}" for name in ("base", "common", "data_types", "header", "message")),
    "engine.xmldsig",
)

USED = [
    (
        "urn:iso:std:iso:15118:-20:DC",
        "802c0400000000000000000012",
        ("d20.messages.common_types", "d20.messages.dc", "engine.xmldsig"),
    ),
    ("urn:iso:15118:2:2010:AppProtocol", "804080", ("engine.app_protocol",)),
    ("urn:din:70121:2012:MsgDef", "809a02000000000000000011f0", DIN),
]


@pytest.mark.parametrize(("uri", "octets", "expected"), USED, ids=[uri.rpartition(":")[2] for uri, _, _ in USED])
def test_a_namespace_loads_itself_and_what_it_imports(uri: str, octets: str, expected: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], input=f"{uri} {octets}", capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == list(expected)


CORES = """
import sys, secc.session.d20.session, evcc.session.d20.session
from v2g.exi import grammar
print(grammar.document.cache_info().currsize, *sys.modules)
"""


def test_charger_and_vehicle_load_no_other_edition_and_make_no_codec_before_its_first_message() -> None:
    """Declarations of -20 cost milliseconds; grammars and codecs are what takes time and memory."""
    done = subprocess.run([sys.executable, "-c", CORES], capture_output=True, text=True, check=True)
    grammars, *modules = done.stdout.split()
    loaded = {name.removeprefix("v2g.iso15118.") for name in modules if name.startswith("v2g.iso15118.")}
    assert "d20.messages.dc" in loaded
    assert loaded & {"d2.messages", "din.messages", "d20.messages.ac_der_iec", "d20.messages.ac_der_sae"} == set()
    assert grammars == "0"


@pytest.mark.some(1)
@pytest.mark.parametrize(("edition", "other"), [("d2", "din"), ("din", "d2")])
def test_a_charger_loads_the_messages_of_the_edition_that_is_spoken(edition: str, other: str) -> None:
    found = loaded(f"secc.session.{edition}.session", [f"v2g.iso15118.{each}.messages" for each in (edition, other)])
    assert found == [f"v2g.iso15118.{edition}.messages"]
