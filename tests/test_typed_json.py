"""Types are worked out by one thread at a time."""

import ast
import contextlib
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.together import together
from v2g import typed_json

ROOT: Final = Path(__file__).parents[1]

MEETING: Final = """
import sys, threading
import msgspec
from v2g import typed_json

def new():
    class Inner(msgspec.Struct):
        a: int
        b: "int | None" = None

    class Outer(msgspec.Struct):
        x: "int"
        y: "str | None" = None
        z: "dict[str, int] | None" = None
        inner: Inner | None = None
    return Outer

sys.setswitchinterval(1e-6)
for _ in range(200):
    both, outer = threading.Barrier(4), new()
    def meet():
        both.wait()
        assert HOW.x == 1
    threads = [threading.Thread(target=meet) for _ in range(4)]
    [each.start() for each in threads]
    [each.join() for each in threads]
"""
JSON: Final = """b'{"x":1,"inner":{"a":2}}'"""


@pytest.mark.parametrize(
    "how",
    [
        f"typed_json.decode({JSON}, outer)",
        f"typed_json.decoder(outer).decode({JSON})",
        "typed_json.convert({'x': 1, 'inner': {'a': 2}}, outer)",
    ],
)
def test_threads_that_meet_at_a_new_type_survive(how: str) -> None:
    """The same with msgspec itself ends by SIGSEGV, which is why this module exists."""
    done = subprocess.run([sys.executable, "-c", MEETING.replace("HOW", how)], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def unguarded(tree: ast.AST) -> list[int]:
    """Return the lines that let msgspec itself work out a type."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = ast.unparse(node.func) if node.func.attr in ("decode", "Decoder", "convert") else ""
            typed = name == "msgspec.json.decode" and any(each.arg == "type" for each in node.keywords)
            if typed or name in ("msgspec.json.Decoder", "msgspec.convert"):
                found.append(node.lineno)
    return found


def test_programs_decode_nowhere_else() -> None:
    folders = ("v2g", "secc", "evcc", "csms", "v2g_station", "v2g_cli", "v2g_testkit", "pki-tools")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    home = ROOT / "v2g/typed_json.py"
    assert unguarded(ast.parse(home.read_text()))
    texts = {path: path.read_text() for path in files if path != home}
    named = {path: text for path, text in texts.items() if "msgspec.json" in text or "msgspec.convert" in text}
    found: dict[Path, list[int]] = {path: unguarded(ast.parse(text)) for path, text in named.items()}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "data",
    [b'{"text":"\x80"}', b'{"\x80":1}', b"[" * 100_000, '{"text":"\ud800"}'],
    ids=["value", "name", "depth", "surrogate"],
)
@pytest.mark.parametrize("type_", [object, dict[str, str], msgspec.defstruct("Text", [("text", str)])])
def test_whatever_is_not_json_is_one_error(data: bytes | str, type_: object) -> None:
    """msgspec has others for broken UTF-8 and for depth."""
    with pytest.raises(msgspec.DecodeError):
        typed_json.decode(data, type_)


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    x: int = 0


class Kept(msgspec.Struct, forbid_unknown_fields=True):
    one: Inner
    some: list[Inner] = []
    named: dict[str, Inner] = {}
    pair: tuple[int, Inner] | None = None


@pytest.mark.requirement("R133")
def test_what_a_later_program_adds_to_a_document_is_left_out() -> None:
    kept = Kept(Inner(1), [Inner(2), Inner(3)], {"a.b": Inner(4), "later": Inner(5)}, (6, Inner(7)))
    plain = msgspec.to_builtins(kept)
    for each in (plain, plain["one"], *plain["some"], *plain["named"].values(), plain["pair"][1]):
        each |= {"later": {"x": 1}, "and.more": [1]}
    assert typed_json.decode_kept(msgspec.json.encode(plain), Kept) == kept
    assert typed_json.decode_kept(msgspec.json.encode([plain]), list[Kept]) == [kept]


@pytest.mark.parametrize("text", [b"", b"[]", b'{"one":{"x":"1"}}', b'{"one":{"x":"1","later":2}}', b'{"later":1}'])
def test_a_document_that_is_wrong_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as raised:
        typed_json.decode_kept(text, Kept)
    assert "unknown field" not in str(raised.value)


class Numbered(msgspec.Struct):
    whole: int
    part: float = 0.0


@given(st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from(["{}", "{:f}", "{:E}"]))
def test_integers_are_integers_however_written(value: Decimal, form: str) -> None:
    """By the exact value of what is written; the judge is a draft-06 validator where floats are exact."""
    assume(abs(value.adjusted()) < 300)
    written = form.format(value)
    data = f'{{"whole":{written}}}'.encode()
    assume(data.count(b"+") == 0 or b"E+" in data)
    if value == value.to_integral_value() and abs(value) < 2**53:
        assert typed_json.decode_sent(data, Numbered) == Numbered(int(value))
    elif value != value.to_integral_value():
        with pytest.raises(msgspec.ValidationError):
            typed_json.decode_sent(data, Numbered)


@together("written", ["1e400", "01.0", "1.0.0", "+1.0", "--1.0", "0x1", "1.", ".0", '"1.0"', "1e-400", "NaN"])
def test_only_json_numbers_are_integers(written: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        typed_json.decode_sent(f'{{"part":0.5,"whole":{written}}}', Numbered)


@given(st.binary(max_size=200))
def test_any_octets_give_a_value_or_the_error_of_json(data: bytes) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        typed_json.decode_sent(data, Numbered)
    with contextlib.suppress(msgspec.DecodeError):
        assert msgspec.json.decode(typed_json.whole_numbers(data)) == msgspec.json.decode(data)
