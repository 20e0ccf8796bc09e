"""Configuration files: every mistake is named with its line."""

import contextlib
import enum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from v2g.config import parse_config
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


def test_an_unknown_key_inside_a_list_is_found() -> None:
    with pytest.raises(ConfigError, match=r"c\.toml:3: unknown key 'packs\.volts'"):
        parse_config('evcc_id = "X"\n[[packs]]\nvolts = 5\n', Config, name="c.toml")


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


def test_files_are_relative_to_the_folder_of_the_configuration() -> None:
    config = parse_config('evcc_id = "X"\nkey = "keys/a.pem"\n', Config, name="/etc/v2g/c.toml")
    assert config.key == Path("/etc/v2g/keys/a.pem")
    assert parse_config('evcc_id = "X"\nkey = "/k.pem"\n', Config, name="/etc/v2g/c.toml").key == Path("/k.pem")
    with pytest.raises(ConfigError, match=r"c\.toml:2: .*name of a file"):
        parse_config('evcc_id = "X"\nkey = ["a"]\n', Config, name="c.toml")
