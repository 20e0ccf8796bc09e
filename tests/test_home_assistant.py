"""What is announced to Home Assistant, whatever the names of others are."""

import json
import re
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.home_assistant import EVSE, SITE, VEHICLE, HomeEntity, discovery, node_of
from v2g.telemetry.signals import CONTEXTS, SIGNALS

WORDS = re.compile(r"[A-Za-z0-9_-]+")


def announced(name: str, entities: Mapping[str, HomeEntity] = VEHICLE) -> dict[str, dict[str, Any]]:
    node = node_of("vehicle", name)
    found = discovery("homeassistant", node, name, "Vehicle", entities, f"v2g/state/{node}", {"topic": "v2g/status"})
    return {topic: json.loads(payload) for topic, payload in found.items()}


@given(st.text(min_size=1))
def test_a_hostile_name_is_a_text_and_no_topic_template_or_id(name: str) -> None:
    plain = announced("EV-1")
    for (topic, config), wanted in zip(announced(name).items(), plain.values(), strict=True):
        prefix, component, node, entity, last = topic.split("/")
        assert (prefix, last) == ("homeassistant", "config")
        assert all(WORDS.fullmatch(each) for each in (component, node, entity))
        assert config["unique_id"] == f"{node}_{entity}"
        assert config["device"]["name"].isprintable()
        assert len(config["device"]["name"]) <= 64
        templates = {key: each for key, each in config.items() if key.endswith("template")}
        assert templates.items() <= wanted.items()


@given(st.lists(st.text(), unique=True, min_size=2, max_size=20))
def test_no_two_devices_share_a_node(names: list[str]) -> None:
    assert len({node_of("site", each) for each in names}) == len(names)


@together("entities", [EVSE, SITE, VEHICLE], ids=lambda each: ",".join(each)[:20])
def test_entities_have_what_their_kind_needs(entities: Mapping[str, HomeEntity]) -> None:
    for topic, config in announced("x", entities).items():
        assert config["availability"] == [{"topic": "v2g/status"}]
        if "/sensor/" in topic:
            assert ("options" in config) == (config.get("device_class") == "enum")
            assert not ({"state_class"} & config.keys()) or config.get("device_class") not in ("enum", "timestamp")
    named = {key for key in entities if "." in key}
    assert named <= SIGNALS.keys()
    units = {"degC": "°C"}
    assert all(units.get(unit, unit) == entities[key].unit for key in named if (unit := SIGNALS[key].unit))


def test_modes_are_those_of_records() -> None:
    assert VEHICLE["context"].options == CONTEXTS
