"""`v2g conform gridcode`: test signals of a grid code, and whether a charger does what it says (R209)."""

import asyncio
import bisect
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from v2g.errors import CodecError, ConfigError
from v2g_cli.conform.options import Reports, Selection
from v2g_cli.output import read_text, say, write_text

if TYPE_CHECKING:  # slow to load: other commands do without
    from v2g_cli.conform.running import LabRun
    from v2g_testkit.cases.case import Result
    from v2g_testkit.cases.grid_code import GridCodeCase, Sample
    from v2g_testkit.grid_code_tester import GridCodeBench

NOTICE: Final = (
    "These cases have the shape of EN 50549-10 and IEEE 1547.1, which were not available; signals and tolerances are "
    "this project's own. A pass is not a certificate."
)
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder is made in it
"""Folders of chargers under test: they wait for no disk there."""
_STEPS: Final = 400
"""Values in a curve."""


def gridcode(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The grid code: a preset, or a TOML file of your own.")],
    selection: Selection,
    reports: Reports,
    energy: Annotated[str, typer.Option("--energy", help="dc (the charger's inverter) or ac (the vehicle's).")] = "dc",
    installed: Annotated[
        str, typer.Option("--installed", metavar="NAME", help="The code that the charger has, if it is another one.")
    ] = "",
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FOLDER", help="Write each case's measurements and judged points as CSV."),
    ] = None,
    signals: Annotated[
        Path | None,
        typer.Option(
            "--signals", metavar="FOLDER", help="Write each case's signal as CSV for a grid simulator, and exit."
        ),
    ] = None,
    recorded: Annotated[
        Path | None,
        typer.Option(
            "--recorded", metavar="FOLDER", help="Judge what was measured at another charger: ID.csv of s,hz,v,w,var."
        ),
    ] = None,
    rating: Annotated[int, typer.Option("--rating", min=1, help="Rating of that charger, W.")] = 11_000,
) -> None:
    """Test whether a charger keeps a grid code: steps, staircases, sweeps and oscillations of frequency and voltage are
    played through the simulated grid, in simulated time, while the vehicle program charges or feeds back.

    A charger of another make needs a grid simulator that plays the signals: --signals, then --recorded. Power is
    positive into the vehicle. Exit code 1 if a case failed, 3 if nothing was conclusive.

    Examples:

    - `v2g conform gridcode vde-ar-n-4105-2018 --quick --html report`
    - `v2g conform gridcode rule-21 --energy ac --only TRIP --csv measured`
    - `v2g conform gridcode g98 --signals signals`
    - `v2g conform gridcode g98 --recorded measured --rating 7400 --device "Wallbox 7, 4711"`
    """
    from v2g_cli.conform.running import LabRun
    from v2g_cli.grid_code import code_of
    from v2g_testkit.cases.grid_code import Energy, cases_of, samples_csv
    from v2g_testkit.grid_code_tester import RATING_W, GridCodeBench

    code, currents = code_of(name), dict[str, Energy](dc="DC", ac="AC")
    if energy not in currents:
        raise ConfigError("--energy is dc or ac")
    reports = msgspec.structs.replace(reports, device=reports.device or "v2g secc")
    run = LabRun("gridcode", cases_of(code, currents[energy]), selection, reports, NOTICE, of=f"{name} ")
    if signals is not None:
        for case in run.cases:
            _write(signals / f"{case.id}.csv", case.csv)
        what = "signals; the first line of each says when a vehicle is plugged in, and for what"
        say(f"{signals}: {len(run.cases)} {what}")
        return
    run.prepare()
    run.about["grid code"] = f"{code.title} ({code.digest[:12]})"
    found = _Measured(recorded, rating if recorded is not None else RATING_W)
    bench = GridCodeBench(
        code=code, installed=code_of(installed) if installed else code, energy=currents[energy]
    )  # fmt: skip
    results = _run(bench, found, run)
    for case in run.cases:
        if csv is not None and case.id in found.samples:
            _write(csv / f"{case.id}.csv", samples_csv(found.samples[case.id]))
            from v2g.energy.settlement.rows import csv_text
            from v2g_testkit.cases.grid_code import judged

            points = judged(case, found.samples[case.id], found.rating_w)
            head = "point", "s", "measured", "low", "high", "unit", "right"
            rows = ((each.name, *(round(value, 4) for value in each[1:5]), each.unit, each.right) for each in points)
            _write(csv / f"{case.id}-points.csv", csv_text(head, *rows))
    by_id = {case.id: case for case in run.cases}
    run.end(results, lambda case, title: _page(by_id[case], title, found))


class _Measured:
    """What was measured in each case, at a charger of this rating, W; read from a folder if one is given."""

    def __init__(self, folder: Path | None, rating_w: int) -> None:
        self.folder, self.rating_w = folder, rating_w
        self.samples: dict[str, list[Sample]] = {}

    async def run(self, case: "GridCodeCase") -> "Result":
        """Judge what was recorded."""
        from v2g_testkit.cases.case import Result, Verdict
        from v2g_testkit.cases.grid_code import parse_samples, verdict

        assert self.folder is not None
        file = self.folder / f"{case.id}.csv"
        if not file.exists():
            return Result(case=case.id, verdict=Verdict.NOT_EXERCISED, found=f"{file.name} was not recorded")
        try:
            self.samples[case.id] = samples = list(parse_samples(read_text(file)))
        except CodecError as error:
            raise ConfigError(f"{file}: {error}", hint=error.hint or "lines of s,hz,v,w,var") from None
        return verdict(case, samples, self.rating_w, 0.0)


def _run(bench: "GridCodeBench", found: _Measured, run: "LabRun[GridCodeCase]") -> "list[Result]":
    from pki_tools.tree import make_pki
    from v2g.io.runtime.virtual_time import VirtualLoop
    from v2g_cli.pki.common import now
    from v2g_testkit.grid_code_tester import GridCodeTester

    with (
        tempfile.TemporaryDirectory(prefix="v2g-gridcode-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder,
        asyncio.Runner(loop_factory=lambda: VirtualLoop(waits=True, disks=True)) as runner,
    ):
        measure = found.run
        if found.folder is None:
            tester = GridCodeTester(bench, make_pki(Path(folder) / "pki", now=now()), Path(folder))
            measure, found.samples = tester.run, tester.samples
        return runner.run(run.run(measure))


def _page(case: "GridCodeCase", title: str, found: _Measured) -> str | None:
    """Return a case's page: curves, and each point."""
    from v2g.look import document
    from v2g_testkit.cases.grid_code import judged

    if not (samples := found.samples.get(case.id)):
        return None
    rows = "".join(
        f'<tr><td><span class="state {"good" if each.right else "bad"}">{"right" if each.right else "wrong"}</span>'
        f"</td><td>{escape(each.name)}</td><td>{each.at_s:.2f} s</td><td>{each.measured:.4g} {escape(each.unit)}</td>"
        f"<td>{each.low:.4g} to {each.high:.4g}</td></tr>"
        for each in judged(case, samples, found.rating_w)
    )
    head = "<tr><th></th><th>Point</th><th>At</th><th>Measured</th><th>Right</th></tr>"
    return document(
        title,
        f'<h1>{escape(title)}</h1>\n<div class="card scroll">{_chart(case, samples, found.rating_w)}</div>'
        f'<div class="card scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>',
    )


def _chart(case: "GridCodeCase", samples: "Sequence[Sample]", rating_w: int) -> str:
    """Return the curves: the signal, and power with its bands, as parts of the rating."""
    from v2g.svg_chart import Row, Series, stairs_chart
    from v2g_testkit.cases.grid_code import bands_of

    begin_s, end_s = samples[0].s, samples[-1].s
    step_s = max((end_s - begin_s) / _STEPS, 0.001)
    times = [begin_s + n * step_s for n in range(_STEPS + 1)]
    places = [min(bisect.bisect_left(samples, (each,)), len(samples) - 1) for each in times]
    at = [samples[each] for each in places]
    sign = 1 if case.flow == "in" else -1

    def bands(*, reactive: bool) -> Iterator[Series]:
        for window in (each for each in bands_of(case, samples, rating_w) if each[0] is reactive):
            for line in window[1:]:
                yield Series("red", "", [line(s) for s in times])

    rows = [
        Row("frequency, Hz", (Series("blue", "", [each.hz for each in at]),), case.points[0][1]),
        Row("voltage, V", (Series("blue", "", [each.volts for each in at]),), case.points[0][2]),
        Row(
            f"power {'drawn' if sign > 0 else 'fed back'}, part of the rating",
            (Series("blue", "measured", [each.watts * sign / rating_w for each in at]), *bands(reactive=False)),
        ),
    ]
    if case.reactive is not None:
        var = Series("blue", "measured", [each.var / rating_w for each in at])
        rows.append(Row("reactive power, part of the rating", (var, *bands(reactive=True))))
    return stairs_chart(f"{case.id}: {case.title}", [round(each * 1000) for each in times], rows)


def _write(file: Path, text: str) -> None:
    from v2g_cli.conform.report import make_folder

    make_folder(file.parent, "choose a folder that this user may write")
    write_text(file, text)
