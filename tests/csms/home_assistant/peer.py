"""Runs in the environment of Home Assistant, without its web pages: prints its MQTT entities as JSON.

`peer.py PORT NUMBER`: of the broker, and of the entities that it waits for, at most half a minute.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from homeassistant import auth, bootstrap, config_entries, core, loader
from homeassistant.helpers import device_registry, entity_registry


async def main(port: int, number: int) -> None:
    """Set up the integration, and wait."""
    folder = tempfile.mkdtemp()
    Path(folder, "configuration.yaml").touch()
    hass = core.HomeAssistant(folder)
    hass.config.skip_pip = True
    loader.async_setup(hass)
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [], [])
    data = {"broker": "127.0.0.1", "port": port, "discovery": True, "discovery_prefix": "homeassistant"}
    entry = config_entries.ConfigEntry(version=1, minor_version=1, domain="mqtt", title="", source="user", data=data)
    await hass.config_entries.async_add(entry)
    found = entity_registry.async_get(hass).entities
    for _ in range(300):
        states = {each.entity_id: hass.states.get(each.entity_id) for each in found.values()}
        if len(states) >= number and all(each and each.state != "unavailable" for each in states.values()):
            break
        await asyncio.sleep(0.1)
    devices = device_registry.async_get(hass)
    shown = {
        each.unique_id: {
            "state": states[each.entity_id].state,
            "latitude": states[each.entity_id].attributes.get("latitude"),
            "device": devices.async_get(each.device_id).name,
        }
        for each in found.values()
    }
    sys.stdout.write(json.dumps(shown))
    await hass.async_stop(force=True)


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
