"""The Containerfile and the compose file: parsers that we did not write accept them, and each service's command runs.

There is no container runtime here: the commands run on this machine with the environment of their service, and paths
and host names of the containers become those of this machine.
"""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from tests.csms.cluster.buses import redis_server
from tests.csms.databases import running_cluster
from tests.deploy.service import UNITS
from v2g_cli import init
from v2g_cli.demo.processes import EventFile, Program, wait_for

CONTAINERS = UNITS.parent / "containers"
ROOT = CONTAINERS.parents[1]
NODES = ("north", "south", "telemetry")


def services() -> dict[str, dict[str, Any]]:
    """Return the services of the compose file, anchors resolved."""
    return yaml.safe_load((CONTAINERS / "compose.yaml").read_text())["services"]


def test_the_containerfile_is_what_its_parser_accepts() -> None:
    with (CONTAINERS / "Containerfile").open("rb") as file:
        parser = DockerfileParser(fileobj=file)
        steps = [(step["instruction"], step["value"]) for step in parser.structure]
        assert parser.is_multistage
        for image in parser.parent_images:  # `BASE`, resolved
            assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", image)
    assert ("USER", "10001:10001") in steps
    assert dict(steps)["ENTRYPOINT"] == '["v2g"]'
    install = dict(steps[::-1])["RUN"]
    assert "--require-hashes" in install
    assert (ROOT / install.split("-r ")[1].split()[0]).is_file()


def test_compose_reads_the_file(tmp_path: Path) -> None:
    """By podman-compose, which resolves anchors, dependencies, volumes, networks and secrets; it asks for podman."""
    (tmp_path / "podman").write_text("#!/bin/sh\necho podman version 4.9.0\n")
    (tmp_path / "podman").chmod(0o755)
    command = [sys.executable, "-m", "podman_compose", "-f", str(CONTAINERS / "compose.yaml"), "config"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PATH": f"{tmp_path}:/bin"}, check=False
    )
    shown = yaml.safe_load(done.stdout)
    assert set(shown["services"]) == {*NODES, "database", "bus", "broker"}, done.stderr
    for name, service in services().items():
        assert service.get("restart") == "always", name
        assert set(service["networks"]) <= shown["networks"].keys()
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source.startswith("./") or source in shown["volumes"], volume
    for name in NODES:
        assert services()[name]["cap_drop"] == ["ALL"]
        assert services()[name]["read_only"] is True


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of an empty database."""
    with running_cluster() as cluster:
        yield cluster.url(cluster.create())


@pytest.mark.long
def test_each_service_runs_with_its_own_command_and_environment(tmp_path: Path, database: str) -> None:
    with redis_server(tmp_path) as server, contextlib.ExitStack() as stack:
        init.csms_init(tmp_path / "csms", host=["localhost"], station="CS-1", contract="DEV2GC00000001", port=9443)
        text = (tmp_path / "csms" / "csms.toml").read_text()
        key = tmp_path / "store.key"
        key.touch(mode=0o600)
        key.write_text("ab" * 32)
        started: list[Program] = []
        for name in NODES:
            service = services()[name]
            (folder := tmp_path / name).mkdir()
            config = folder / "csms.toml"
            config.touch(mode=0o600)
            own = text.replace("port = 9443", "port = 0").replace("port = 8443", "port = 0")
            own = own.replace(
                'data_dir = "csms"',
                f'data_dir = "{folder}"\nstore_url = "{database}"\nnode = "{name}"\n'
                f'store_key = "{key}"\nbus_url = "{server.url}"\nbus_without_password = true',
            )
            config.write_text(own + ("\n[ingestion_worker]\nthreads = 2\n" if name == "telemetry" else ""))
            command = [str(config) if word == "/etc/v2g-engine/csms.toml" else word for word in service["command"]]
            events = EventFile(folder / "events.jsonl")
            words = ["env", *(f"{key}={value}" for key, value in service["environment"].items())]
            words += [str(Path(sys.executable).with_name("v2g")), *command, "--events", str(events.path)]
            program = Program(name, words, folder / "log", events)
            program.start()
            stack.callback(program.stop)
            wait_for(program, "ocpp", "ready", [], seconds=180)
            started.append(program)
        assert [each.poll() for each in started] == [None, None, None]
