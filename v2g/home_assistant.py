"""Discovery by Home Assistant: what is retained on a broker so that devices appear there by themselves.

Each entity of a device has a topic `PREFIX/COMPONENT/NODE/ENTITY/config` with its configuration, as every version of
Home Assistant reads it (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery). Names of others stand in
texts only: topics have a form of their own, and templates none but our words.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from v2g.text import printable
from v2g.version import VERSION

_MOST_NAME: Final = 64


class HomeEntity(msgspec.Struct, frozen=True):
    """An entity: its name, unit, device and state class, as Home Assistant has them. `component`: what it is there;
    `options`: all states of one that is text."""

    name: str
    unit: str = ""
    device_class: str = ""
    state_class: str = "measurement"
    component: str = "sensor"
    options: tuple[str, ...] = ()


_ENERGY: Final = ("Wh", "energy", "total_increasing")

EVSE: Final[Mapping[str, HomeEntity]] = {
    "status": HomeEntity(
        "Status", options=("Available", "Occupied", "Reserved", "Unavailable", "Faulted"), device_class="enum"
    ),
    "charging": HomeEntity("Energy flows", device_class="running", component="binary_sensor"),
    "power_w": HomeEntity("Power into the vehicle", "W", "power"),
    "import_wh": HomeEntity("Energy into vehicles", *_ENERGY),
    "export_wh": HomeEntity("Energy out of vehicles", *_ENERGY),
    "charge_limit_w": HomeEntity("Limit", "W", "power"),
    "discharge_limit_w": HomeEntity("Limit of discharge", "W", "power"),
    "setpoint_w": HomeEntity("Set point", "W", "power"),
}
"""Of an EVSE of a charger."""

SITE: Final[Mapping[str, HomeEntity]] = {
    "import_w": HomeEntity("Power into vehicles", "W", "power"),
    "export_w": HomeEntity("Power out of vehicles", "W", "power"),
    "sessions": HomeEntity("Charging sessions"),
    "unknown": HomeEntity("Sessions of unknown power"),
    "evses": HomeEntity("EVSEs"),
    "ready": HomeEntity("EVSEs in order"),
    "import_limit_w": HomeEntity("Limit", "W", "power"),
    "export_limit_w": HomeEntity("Limit of feed-back", "W", "power"),
}
"""Of a site of the back end."""

VEHICLE: Final[Mapping[str, HomeEntity]] = {
    "battery.soc": HomeEntity("State of charge", "%", "battery"),
    "battery.soh": HomeEntity("State of health", "%"),
    "charging.power": HomeEntity("Charging power", "W", "power"),
    "battery.temperature.max": HomeEntity("Battery temperature", "°C", "temperature"),
    "battery.energy.charged": HomeEntity("Energy charged", *_ENERGY),
    "battery.energy.discharged": HomeEntity("Energy discharged", *_ENERGY),
    "vehicle.range": HomeEntity("Range", "km", "distance"),
    "vehicle.odometer": HomeEntity("Odometer", "km", "distance", "total_increasing"),
    "context": HomeEntity(
        "Mode", options=("parked", "city", "highway", "charging", "discharging"), device_class="enum"
    ),
    "at": HomeEntity("Last report", device_class="timestamp", state_class=""),
    "location": HomeEntity("Location", component="device_tracker"),
}
"""Of a vehicle: signals by name; `location` is there with consent to it only."""


def node_of(kind: str, name: str) -> str:
    """Return what stands for a device in topics and ids: letters, digits, - and _ only, and no other's."""
    word = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:32]
    return f"v2g_{kind}_{word}_{blake2b(name.encode(errors='surrogatepass'), digest_size=4).hexdigest()}"


def discovery(
    prefix: str,
    node: str,
    name: str,
    model: str,
    entities: Mapping[str, HomeEntity],
    state_topic: str,
    availability: Mapping[str, str],
) -> dict[str, bytes]:
    """Return the retained configurations of a device by topic.

    Its state is JSON at `state_topic`, by the keys of `entities`; null and what is absent are unknown. `availability`:
    a topic, and its template if its payload is not `online` or `offline`.
    """
    device = {
        "identifiers": [node],
        "name": printable(name)[:_MOST_NAME],
        "manufacturer": "v2g-engine",
        "model": model,
        "sw_version": VERSION,
    }
    found = {}
    for key, each in entities.items():
        word = key.replace(".", "_")
        value = f"value_json.get('{key}')"
        config: dict[str, object] = {
            "name": each.name,
            "unique_id": f"{node}_{word}",
            "device": device,
            "origin": {"name": "v2g-engine", "sw_version": VERSION},
            "availability": [availability],
        }
        if each.component == "device_tracker":
            config |= {"json_attributes_topic": state_topic, "source_type": "gps"}
            config["json_attributes_template"] = f"{{{{ ({value} or {{}}) | tojson }}}}"
        else:
            config["state_topic"] = state_topic
            on = f"{{{{ 'ON' if {value} else 'OFF' }}}}"
            config["value_template"] = on if each.component == "binary_sensor" else f"{{{{ {value} }}}}"
            state_class = "" if each.options or each.component != "sensor" else each.state_class
            options = list(each.options)
            optional = {"device_class": each.device_class, "unit_of_measurement": each.unit}
            optional |= {"state_class": state_class}
            config |= {name: text for name, text in optional.items() if text} | (
                {"options": options} if options else {}
            )
        found[f"{prefix}/{each.component}/{node}/{word}/config"] = msgspec.json.encode(config)
    return found
