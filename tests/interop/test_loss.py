"""Our charger and our vehicle over a powerline that loses 1 to 20 % of all frames, and delays the rest: discovery, TLS
and messages. A session completes, or ends by the right name on both sides; nothing hangs, nothing is left unsettled.
"""

import os
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from pki_tools.tree import DEFAULTS, PkiTree
from tests.interop.cable import missing
from tests.interop.lossy import lossy_cable
from tests.interop.own_programs import grid_signal
from tests.interop.programs import RUN_S, charger, ended, named, own_papers, ready, tail, vehicle
from v2g.energy.settlement.bundle import verify_bundle
from v2g.io.plc.link import ImpairmentConfig
from v2g.io.storage.journal_file import read_files
from v2g.pki.credentials import load_chain
from v2g_cli.demo.processes import wait_for

pytestmark = [pytest.mark.one_worker("cable"), pytest.mark.interop, pytest.mark.requirement("R21")]

_tags = count()

FAILURES = frozenset(
    {"message_timeout", "communication_setup_timeout", "secc_vanished", "TimeoutExpired", "TlsError", "TransportError"}
)
"""Names of ends that a bad line may cause, at the vehicle."""

ENDS = frozenset({"vehicle", "connection_lost", "sequence_timeout"})
"""Names of ends at the charger: the vehicle's regular one, and those that a bad line may cause."""


@pytest.mark.parametrize(
    ("loss", "delay_ms"),
    [
        (0.01, 0.0),
        *(pytest.param(loss, delay_ms, marks=pytest.mark.long) for loss, delay_ms in (
            (0.05, 0.0), (0.1, 0.0), (0.2, 0.0), (0.01, 50.0), (0.05, 50.0), (0.1, 50.0), (0.2, 50.0),
        )),
    ],
)  # fmt: skip
def test_a_session_completes_or_fails_by_the_right_name(
    pki: PkiTree, tmp_path: Path, loss: float, delay_ms: float
) -> None:
    if reason := missing():
        pytest.skip(reason)
    weather = ImpairmentConfig(seed=7, loss=loss, delay_ms=delay_ms, jitter_ms=delay_ms / 2, reorder=loss / 2)
    (tmp_path / "grid.json").write_bytes(grid_signal())
    with lossy_cable(f"{os.getpid()}-{next(_tags)}", weather) as cable:
        site = f'[site]\nsignal_file = "grid.json"\ncontracts = ["{DEFAULTS.emaid}"]\n'
        secc = charger(tmp_path, cable, own_papers(pki, "secc"), site)
        steps = "".join(f'[[program]]\ndo = "{each}"\nfor_s = 1\n' for each in ("charge", "discharge"))
        evcc = vehicle(tmp_path, cable, own_papers(pki, "vehicle"), steps)
        charging = ready(secc)
        try:
            evcc.start()
            code = ended(evcc)
            charging += secc.events.read()
            if named(charging, "session", "session_started") and not named(charging, "session", "session_ended"):
                wait_for(secc, "session", "session_ended", charging, seconds=RUN_S)
        finally:
            secc.stop()
    assert secc.exit_code == 0, tail(secc)
    charging += secc.events.read()
    driving = [*evcc.events.read()]
    failed = {event["reason"] for event in named(driving, "session", "failed")}
    if code == 0:
        assert named(driving, "session", "ended")[0]["reason"] == "finished"
    else:
        assert failed, tail(evcc)
        assert failed <= FAILURES, tail(evcc)
    assert {event["reason"] for event in named(charging, "session", "session_ended")} <= ENDS
    bundles = list((tmp_path / "secc" / "settlements").glob("*"))
    begun = bool(named(charging, "service", "selected"))  # the journal begins with the service
    assert len(bundles) == begun
    anchors = [der for root in ("v2g", "mo") for der in load_chain(pki.path(f"{root}/root.pem"))]
    for bundle in bundles:
        assert verify_bundle(read_files(bundle), anchors=anchors, now=datetime.now(UTC)).settlement.end
