"""Our programs in the namespaces of a cable, on bench hardware: only the network joins them to the other side."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pki_tools.tree import PkiTree
from tests.interop.cable import EVCC_INTERFACE, SECC_INTERFACE, Cable, inside
from tests.interop.peer import EMAID, Peer
from v2g.iso15118.select import EditionName
from v2g_cli.demo.processes import Event, EventFile, Program, wait_for

START_S = 120
RUN_S = 300
"""A JVM on a busy machine of two cores is slow; nothing waits this long when all is well."""


@dataclass(frozen=True)
class Papers:
    """Paths of the certificates that a program shows and believes; the charger's meter has some of its own."""

    chain: Path
    key: Path
    v2g_root: Path
    oem_root: Path
    mo_root: Path
    contract_chain: Path
    contract_key: Path
    meter: PkiTree
    profile: str
    ocsp: Path | None = None


def own_papers(pki: PkiTree, leaf: str) -> Papers:
    """Return what our PKI gives to `secc` or `vehicle`: secp521r1 and SHA-512 everywhere."""
    return Papers(
        chain=pki.path(f"{leaf}/chain.pem"),
        key=pki.path(f"{leaf}/leaf.key"),
        v2g_root=pki.path("v2g/root.pem"),
        oem_root=pki.path("oem/root.pem"),
        mo_root=pki.path("mo/root.pem"),
        contract_chain=pki.path("contract/chain.pem"),
        contract_key=pki.path("contract/leaf.key"),
        meter=pki,
        profile="iso15118-20",
        ocsp=pki.path("secc/ocsp.der"),
    )


def peer_papers(peer: Peer, pki: PkiTree, leaf: str, profile: str = "interop") -> Papers:
    """Return what the peer's PKI gives to `secc` or `vehicle`: P-256 and SHA-256 everywhere. The meter is ours."""
    return Papers(
        chain=peer.chain(leaf),
        key=peer.key(leaf),
        v2g_root=peer.root("v2g"),
        oem_root=peer.root("oem"),
        mo_root=peer.root("mo"),
        contract_chain=peer.chain("contract"),
        contract_key=peer.key("contract"),
        meter=pki,
        profile=profile,
    )


def charger(folder: Path, where: Cable, papers: Papers, extra: str, *, current: str = "dc") -> Program:
    """Return our charger without a back end. `extra` is TOML for [site] and [charger], and more tables after that."""
    config = f"""data_dir = "secc"
security_profile = "{papers.profile}"

[link]
interface = "{SECC_INTERFACE}"

[hardware]
backend = "bench"
kind = "{current}"

[tls]
chain = "{papers.chain}"
key = "{papers.key}"
{f'ocsp = "{papers.ocsp}"' if papers.ocsp else ""}
v2g_roots = ["{papers.v2g_root}", "{papers.meter.path("v2g/root.pem")}"]
oem_roots = ["{papers.oem_root}"]
mo_roots = ["{papers.mo_root}"]

[meter]
chain = "{papers.meter.path("meter/chain.pem")}"
key = "{papers.meter.path("meter/leaf.key")}"

{extra}"""
    return program("secc", folder, where.secc, config)


def vehicle(folder: Path, where: Cable, papers: Papers, extra: str, *, edition: EditionName = "20") -> Program:
    """Return our vehicle, which offers one edition. `extra` is TOML of more tables."""
    config = f"""security_profile = "{papers.profile}"
editions = ["{edition}"]

[link]
interface = "{EVCC_INTERFACE}"

[hardware]
backend = "bench"

[tls]
chain = "{papers.chain}"
key = "{papers.key}"
anchors = ["{papers.v2g_root}"]

[contract]
chain = "{papers.contract_chain}"
key = "{papers.contract_key}"

{extra}"""
    return program("evcc", folder, where.evcc, config)


PEER_CHARGER_SIDE = f"""[site]
contracts = ["{EMAID}"]
discharge_w = 10000

[charger]
control_modes = [1, 2]
meter_info = false
metering_confirmation = false
direction_change_s = 0

[charger.timing]
secc_loop_tolerance = 4.5

[charger.signed_discharge]
offered = false
required = false

[hardware.simulated.stage]
current_a_per_s = 1_000_000
"""
"""Of our charger when the peer is the vehicle: it takes the first control mode, knows neither the value-added service
nor MeteringConfirmation, cannot read a MeterInfo with BPT_DischargedEnergyReadingWh (it expects that name without
its underscore), and is through its ten loops before an ordinary power stage has all of its current, or a dead time is
over."""


def program(name: str, folder: Path, namespace: str, config: str) -> Program:
    path, events = folder / f"{name}.toml", folder / f"{name}.events.jsonl"
    path.touch(mode=0o600)
    path.write_text(config)
    command = inside(namespace, sys.executable, "-m", name, "--config", str(path), "--events", str(events))
    return Program(name, command, folder / f"{name}.log", EventFile(events))


def ready(program: Program) -> list[Event]:
    """Start our charger, and return its events when it can be found."""
    seen: list[Event] = []
    program.start()
    wait_for(program, "session", "ready", seen, seconds=START_S)
    return seen


def says(program: Program, words: str, *, seconds: float = START_S) -> None:
    """Wait for words in a program's log."""
    deadline = time.monotonic() + seconds
    while words not in program.log.read_text(errors="replace"):
        assert program.poll() is None, f"{program.name} ended: {tail(program)}"
        assert time.monotonic() < deadline, f"{program.name} never said {words!r}: {tail(program)}"
        time.sleep(0.05)


def ended(program: Program) -> int:
    """Wait for a program's end and return its exit code."""
    deadline = time.monotonic() + RUN_S
    while (code := program.poll()) is None:
        assert time.monotonic() < deadline, f"{program.name} did not end: {tail(program)}"
        time.sleep(0.02)
    return code


def tail(program: Program) -> str:
    """Return the end of a program's log."""
    return program.log.read_text(errors="replace")[-3000:]


def named(events: list[Event], stage: str, name: str) -> list[dict[str, Any]]:
    """Return the data of all events of that stage and name."""
    return [event.data for event in events if (event.stage, event.name) == (stage, name)]
