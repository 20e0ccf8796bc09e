"""Configuration files: every mistake is named with its line."""

import contextlib
import enum
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tests.together import together
from v2g.config import faults, locate, parse_config, parse_tree
from v2g.errors import ConfigError


class Battery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    capacity_wh: Annotated[int, msgspec.Meta(gt=0)] = 60_000
    names: dict[str, int] = {}


class Side(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    evcc_id: str
    battery: Battery = Battery()
    packs: list[Battery] = []
    key: Path | None = None
    level: Literal["low", "high"] = "low"
    sides: tuple[Side, ...] = ()
    by_name: Mapping[Literal["front", "rear"], Battery] = {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", 'evcc_id = "X"\n[battery]\ncapacity_wh = 5\n[battery.names]\nanything = 1\n'),
        ("c.yaml", "evcc_id: X\nbattery:\n  capacity_wh: 5\n  names: {anything: 1}\n"),
    ],
)
def test_toml_and_yaml_give_the_same_configuration(name: str, text: str) -> None:
    assert parse_config(text, Config, name=name) == Config("X", Battery(5, {"anything": 1}))


@pytest.mark.requirement("R157")
def test_an_unknown_key_is_refused_with_its_line_and_the_nearest_name() -> None:
    text = 'evcc_id = "X"\n\n[battery]\n# capacity_w = 3\ncapacity_w = 5\n'
    with pytest.raises(ConfigError, match=r"c\.toml:5: unknown key 'battery\.capacity_w'") as caught:
        parse_config(text, Config, name="c.toml")
    assert caught.value.hint == "did you mean 'capacity_wh'?"
    assert len(faults(text, Config, name="c.toml")) == 1


def test_a_file_of_which_most_is_unknown_is_asked_about_as_a_whole() -> None:
    """A charger's file given to a vehicle: a long list of keys for each of its own helps nobody."""
    with pytest.raises(ConfigError, match=r"c\.toml:1: unknown key 'charger'") as caught:
        parse_config('charger = 1\nmeter = 1\nsite = 1\nlevel = "low"\n', Config, name="c.toml")
    assert caught.value.hint == "is this the right file?"


@together(
    ("name", "text", "reason"),
    [
        ("c.toml", f"evcc_id = {'9' * 5000}", "c.toml: not TOML: Exceeds the limit (4300 digits)"),
        ("c.yaml", f"evcc_id: {'9' * 5000}", "c.yaml: not YAML: Exceeds the limit (4300 digits)"),
        ("c.yaml", "a:\n]", "c.yaml: not YAML: expected the node content, but found ']' (at line 2, column 1)"),
        ("c.yaml", "a: \x00", "c.yaml: not YAML: unacceptable character #x0000: special characters"),
        ("c.yaml", "a:\n- b: 1\n  c: 2\n  b: 3\n", "c.yaml: 'b' at line 4 stands at line 2 already"),
        ("c.yaml", "a: {b: 1, b: 1}", "c.yaml: 'b' at line 1 stands at line 1 already"),
        ("c.yaml", "a: 2026-02-30", "c.yaml: not YAML: day"),
    ],
)  # fmt: skip
def test_what_is_no_such_text_is_said_in_one_line(name: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, Config, name=name)
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a = 1\n[b]\nc = 2\n", "a = 1\n"])
def test_toml_in_a_file_of_another_name_is_said(text: str) -> None:
    for name, hinted in (("c.conf", True), ("c.yaml", False), ("c.yml", False)):
        with pytest.raises(ConfigError) as caught:
            parse_config(text, Config, name=name)
        assert caught.value.hint.startswith("the name of a file in TOML ends in .toml") == hinted


def test_keys_of_yaml_may_be_merged_from_elsewhere_and_replaced() -> None:
    text = "a: &a {b: 1, c: 2}\nd:\n  <<: *a\n  b: 3\ne: *a\n"
    for _ in range(2):
        assert parse_tree(text, "c.yaml") == {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}, "e": {"b": 1, "c": 2}}


def test_an_unknown_key_inside_a_list_is_found() -> None:
    with pytest.raises(ConfigError, match=r"c\.toml:3: unknown key 'packs\.volts'"):
        parse_config('evcc_id = "X"\n[[packs]]\nvolts = 5\n', Config, name="c.toml")


@pytest.mark.requirement("R157")
def test_tables_by_a_name_are_read_and_their_unknown_keys_found() -> None:
    text = 'evcc_id = "X"\n[by_name.front]\ncapacity_wh = 5\n[by_name.rear]\n'
    assert parse_config(text, Config, name="c.toml").by_name == {"front": Battery(5), "rear": Battery()}
    with pytest.raises(ConfigError, match=r"c\.toml:5: unknown key 'by_name\.rear\.volts'"):
        parse_config(f"{text}volts = 1\n", Config, name="c.toml")


@pytest.mark.requirement("R157")
def test_a_value_out_of_range_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"c\.toml:3: .*capacity_wh"):
        parse_config('evcc_id = "X"\n[battery]\ncapacity_wh = -5\n', Config, name="c.toml")


@pytest.mark.parametrize(
    ("line", "hint"),
    [('level = "medium"', "one of low, high"), ('sides = ["left", "up"]', "one of left, right"), ("level = 5", "")],
)
def test_a_word_that_is_none_of_a_few_is_refused_with_those(line: str, hint: str | None) -> None:
    with pytest.raises(ConfigError, match=r"c\.toml:2: ") as caught:
        parse_config(f'evcc_id = "X"\n{line}\n', Config, name="c.toml")
    assert caught.value.hint == hint


@given(st.text(max_size=200), st.sampled_from(["c.toml", "c.yaml"]))
@example("?", "c.yaml")
def test_any_text_gives_a_configuration_or_one_configuration_error(text: str, name: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(parse_config(text, Config, name=name), Config)


@pytest.mark.parametrize(
    ("name", "text"), [("c.yaml", "a: 1999-13-41"), ("c.yaml", "[" * 5000), ("c.toml", "a=" + "[" * 5000)]
)
def test_text_that_upsets_the_parser_is_still_one_configuration_error(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=r"^c\.(yaml|toml): not "):
        parse_config(text, Config, name=name)


FRAGMENTS = (
    *("[{}]", "[ {} . {} ]", "[[{}]]", "[[{}.{}]]", "{} = #", "  {}=# # {} = 1", "{}.{} = #", "{} = [#, #]"),
    *("{} = [ # list\n  #,\n  [#, {{{} = #}}],\n]", "{} = {{ {} = #, {}.{} = # }}", "{} = 1979-05-27 07:32:00"),
    *('{} = """\n{} = 7\n[{}]\\""""""', "{} = '''\n[{}]\n{} = 7'''''", '{} = "[{}] \\" 7"', "# [{}]", ""),
)
"""Pieces of TOML; each sole # stands for a number."""
KEYS = ("a", "port", "tls", "'x.y'", '"q\\" ="', "7")


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
    for key, each in items or ():
        yield from leaves(each, (*path, str(key)))


@pytest.mark.requirement("R157")
@given(st.lists(st.tuples(st.sampled_from(FRAGMENTS), st.permutations(KEYS)), max_size=12))
@example([(each, list(KEYS)) for each in ("{} = #", "[ {} . {} ]", FRAGMENTS[8], "[[{}.{}]]", FRAGMENTS[9])])
def test_the_line_of_every_key_of_a_toml_file_is_found(parts: list[tuple[str, list[str]]]) -> None:
    """Each number is there once, so its line is known: whatever tables, keys, strings and comments are around it."""
    numbers = iter(range(100, 1000))
    text = "\n".join(re.sub(r"#(?! )", lambda _: str(next(numbers)), form.format(*keys)) for form, keys in parts)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = text.split("\n")
    for path, value in leaves(tree):
        if isinstance(value, int):
            assert str(value) in lines[locate(text, path, "c.toml") - 1], (path, text)


@pytest.mark.requirement("R157")
def test_the_line_of_every_key_of_a_yaml_file_is_found() -> None:
    text = """# port: 1
station:
  tls: {port: 100, "a b": 101}
  text: |
    port: 7
tls:
  port: 102
  list: &again
    - 103
    - {port: 104}
    -
      port: 105
"""
    lines = text.split("\n")
    for path, value in leaves(yaml.safe_load(text)):
        if isinstance(value, int):
            assert str(value) in lines[locate(text, path, "c.yaml") - 1], path
    assert locate(text, ("tls", "gone"), "c.yaml") == 6  # its table
    assert locate("a: &a\n  - *a\n", ("a", "0", "0", "b"), "c.yaml") == 1


def test_a_key_of_another_table_is_not_taken_for_it() -> None:
    text = 'evcc_id = "X"\n[other.battery]\ncapacity_w = 1\n[battery]\ncapacity_w = 5\n'
    found = [str(each) for each in faults(text, Config, name="c.toml")]
    assert "c.toml:5: unknown key 'battery.capacity_w'" in found


def test_files_are_relative_to_the_folder_of_the_configuration() -> None:
    config = parse_config('evcc_id = "X"\nkey = "keys/a.pem"\n', Config, name="/etc/v2g/c.toml")
    assert config.key == Path("/etc/v2g/keys/a.pem")
    assert parse_config('evcc_id = "X"\nkey = "/k.pem"\n', Config, name="/etc/v2g/c.toml").key == Path("/k.pem")
    with pytest.raises(ConfigError, match=r"c\.toml:2: .*name of a file"):
        parse_config('evcc_id = "X"\nkey = ["a"]\n', Config, name="c.toml")


def test_a_file_of_errors_is_parsed_once_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a small file with many of them takes the time of their product."""
    text, parsed, compose = "\n".join(f"k{number}: 1" for number in range(300)), [0], yaml.compose

    def counted(*arguments: Any, **more: Any) -> Any:
        parsed[0] += 1
        return compose(*arguments, **more)

    monkeypatch.setattr(yaml, "compose", counted)
    found = faults(text, Config, name="c.yaml")
    assert [str(each).split(": ")[0] for each in found[:300]] == [f"c.yaml:{number}" for number in range(1, 301)]
    assert parsed == [1]
