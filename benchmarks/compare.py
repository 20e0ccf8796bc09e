"""`python -m benchmarks.compare REV`: the same workloads on two states of the code, in turn, so that a slow or busy
machine slows both.

Each state has a checkout and an environment of its own in `.cache/compare`. `session` runs the programs of `v2g demo`
and reads their CPU time from its report; every other name is a benchmark, which each state runs as it has it, and of
which the figures that both have are compared.
"""

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from benchmarks.figures import Figure, digits, median, run_command
from benchmarks.session import run_own
from v2g.errors import ConfigError, TransportError
from v2g_cli.output import print_json, print_table

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".cache" / "compare"
SESSION: Final = "session"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of both states: medians in `unit`, and the median, least and greatest ratio of the pairs of runs;
    smaller is better, and a ratio above 1 is a loss."""

    name: str
    figure: str
    unit: str
    before: float
    now: float
    ratio: float
    least: float
    greatest: float
    runs: int


Values = Mapping[tuple[str, str, str], float]
"""Figures of one run by name, figure and unit."""


def checkout(revision: str) -> Path:
    """Return a checkout of a revision with its environment, made if it is missing. Raises ConfigError."""
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], cwd=ROOT, capture_output=True, text=True
    )
    if found.returncode:
        raise ConfigError(f"{revision!r} is not a revision of this repository", hint="git log --oneline lists them")
    commit = found.stdout.strip()
    tree = CACHE / commit[:12]
    if not (tree / ".git").exists():
        shutil.rmtree(tree, ignore_errors=True)
        _run(["git", "worktree", "prune"], ROOT)
        _run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], ROOT)
    sys.stderr.write(f"environment of {commit[:12]} ...\n")
    _run(["make", "--silent", ".venv/dev"], tree)
    return tree


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise TransportError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}", hint=f"run it in {folder}")


def session(tree: Path) -> Values:
    """Return the figures of one session of the demo in a checkout."""
    run = run_own(quick=False, checkout=tree)
    return {
        (SESSION, "CPU of charger and vehicle", "s"): run.cpu_s,
        (SESSION, "plug-in to first measured power", "s"): run.energy_s,
        (SESSION, "peak memory of the charger", "MiB"): run.secc_mib,
        (SESSION, "peak memory of the vehicle", "MiB"): run.evcc_mib,
    }


def benchmark(name: str, *, quick: bool) -> Callable[[Path], Values]:
    """Return what runs a benchmark of this name in a checkout."""

    def measure(tree: Path) -> Values:
        command = [
            str(tree / ".venv" / "bin" / "python"),
            "-m",
            "benchmarks",
            "--json",
            *(["--quick"] if quick else []),
        ]
        done = subprocess.run([*command, name], cwd=tree, capture_output=True, text=True)
        if done.returncode:
            raise TransportError(f"benchmark {name} fails in {tree}: {done.stderr.strip()[-500:]}", hint="run it there")
        figures = [msgspec.convert(json.loads(line), Figure) for line in done.stdout.splitlines()]
        return {(each.name, each.figure, each.unit): each.value for each in figures}

    return measure


def compare(before: list[Values], now: list[Values]) -> list[Comparison]:
    """Return the comparison of each figure that every run has; run n of one state belongs to run n of the other."""
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for one, other in zip(before, now, strict=True):
        for key in one.keys() & other.keys():
            found[key].append((one[key], other[key]))
    result = []
    for (name, figure, unit), pairs in sorted(found.items()):
        ratios = [new / old for old, new in pairs if old > 0]
        if len(ratios) < len(before):
            continue
        result.append(
            Comparison(
                name=name,
                figure=figure,
                unit=unit,
                before=median(old for old, _ in pairs),
                now=median(new for _, new in pairs),
                ratio=median(ratios),
                least=min(ratios),
                greatest=max(ratios),
                runs=len(pairs),
            )
        )
    return result


def run(
    revision: Annotated[str, typer.Argument(help="Revision to compare with the working tree.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="session, or names of benchmarks. Default: session.", show_default=False)
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Counted runs of each state, after one that is not.")] = 5,
    quick: Annotated[
        bool, typer.Option("--quick", help="Benchmarks with few repetitions, no run for warm-up.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON record per figure.")] = False,
) -> None:
    """Measure the working tree and another revision in turn, and print the ratio of each figure.

    Examples: `python -m benchmarks.compare v0.2.0`, `python -m benchmarks.compare HEAD~20 session csms --runs 3`
    """
    tree = checkout(revision)
    for name in names or [SESSION]:
        measure = session if name == SESSION else benchmark(name, quick=quick)
        before, now = list[Values](), list[Values]()
        for turn in range(runs + (not quick)):
            sys.stderr.write(f"{name}: run {turn + 1} of {runs + (not quick)}\n")
            before.append(measure(tree))
            now.append(measure(ROOT))
        skipped = 0 if quick else 1
        _show(compare(before[skipped:], now[skipped:]), revision, json=json)


def _show(comparisons: list[Comparison], revision: str, *, json: bool) -> None:
    if json:
        for each in comparisons:
            print_json(each)
        return
    print_table(
        f"Working tree beside {revision}: smaller is better",
        ("benchmark", "figure", revision, "now", "ratio", "least", "greatest"),
        (
            (
                each.name, each.figure, f"{digits(each.before)} {each.unit}", f"{digits(each.now)} {each.unit}",
                f"{each.ratio:.2f}", f"{each.least:.2f}", f"{each.greatest:.2f}",
            )
            for each in comparisons
        ),
    )  # fmt: skip


if __name__ == "__main__":
    run_command(run)
