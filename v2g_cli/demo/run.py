"""What a run has left behind: its events and its settlement bundles, and checks of them."""

from typing import Final

import msgspec

from v2g.energy.settlement.bundle import verify_bundle
from v2g.energy.settlement.report import Report
from v2g.errors import V2GError
from v2g.io.storage.journal_file import read_files
from v2g.iso15118.signed_requests import read_authorization, read_confirmation
from v2g.pki.credentials import load_chain
from v2g_cli.demo.conductor import Conductor
from v2g_cli.demo.processes import Event

TOLERANCE_W: Final = 60
"""Measured power may exceed a limit by rounding of current to mA and one step of the simulated battery."""


class Check(msgspec.Struct, frozen=True):
    """An expectation, whether it was met, and the evidence."""

    name: str
    passed: bool
    evidence: str


class Run:
    """The events of a run, by name, and its settlement bundles."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor = conductor
        self.events = sorted(conductor.events, key=lambda event: event.t)
        self.bundles = sorted((conductor.folder.path / "secc").glob("**/settlements/*"))
        self.reports: list[Report] = []
        self.report_error = "no bundle was written"
        if self.bundles:
            trees = [conductor.folder.path / tree for tree in conductor.folder.trees]
            anchors = [der for tree in trees for root in ("v2g", "mo") for der in load_chain(tree / root / "root.pem")]
            try:
                for bundle in self.bundles:
                    report = verify_bundle(
                        read_files(bundle),
                        anchors=anchors,
                        confirmations=read_confirmation,
                        authorizations=read_authorization,
                        most_reaction_ms=3_600_000,
                    )
                    self.reports.append(report)
            except V2GError as error:
                self.report_error = str(error)
        self.report = self.reports[-1] if self.reports else None

    def all(self, process: str, stage: str, name: str) -> list[Event]:
        return [e for e in self.events if (e.process, e.stage, e.name) == (process, stage, name)]

    def first(self, process: str, stage: str, name: str) -> Event | None:
        return next(iter(self.all(process, stage, name)), None)

    def last(self, process: str, stage: str, name: str) -> Event | None:
        return next(reversed(self.all(process, stage, name)), None)

    @property
    def energy_wh(self) -> tuple[float, float]:
        """Import and export by the journal, Wh."""
        if self.report is None:
            return 0.0, 0.0
        begin, end = self.report.settlement.begin, self.report.settlement.end
        return (end.import_mwh - begin.import_mwh) / 1000, (end.export_mwh - begin.export_mwh) / 1000
