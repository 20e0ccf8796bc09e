"""A run of cases: progress, results, reports, and the exit code; the same for every kind of device."""

import asyncio
import codecs
import contextlib
import logging
import platform
import signal
import ssl
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, NoReturn, TypeVar

import msgspec
import typer
from rich.text import Text

from v2g import typed_json
from v2g.errors import ConfigError, V2GError
from v2g.io.runtime.supervision import child
from v2g.typed_json import Fields
from v2g.version import VERSION
from v2g_cli.conform import report as conform_report
from v2g_cli.conform.options import Reports, Selection
from v2g_cli.options import command_line
from v2g_cli.output import print_json, print_table, read_file, say, say_row, terminal
from v2g_testkit.cases.case import PRECONDITION, REFUSED, Case, Described, Result, Verdict
from v2g_testkit.cases.report import NOTICE, chosen, exit_code, not_run, totals

C = TypeVar("C", bound=Described)

_log = logging.getLogger(__name__)

_INTERRUPTED = 130

_RECORDS = "records of a run with --json, a line each"

STUCK = 3
"""Cases in a row whose precondition failed, after which the device is taken as stuck."""

_REPORTS_EVERY = 20
"""Cases between two reports of progress on standard error, in a pipe."""

_NOTES_EVERY_S = 10.0
"""Seconds between two notes within a case, in a pipe."""

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.OPEN: "cyan",
    Verdict.NOT_EXERCISED: "yellow",
    Verdict.NOT_APPLICABLE: "dim",
}


def describe(device: str) -> dict[str, str]:
    """Return the metadata of a report: device, time, versions, command with its options."""
    versions = (
        f"v2g-engine {VERSION}",
        f"Python {platform.python_version()}",
        ssl.OPENSSL_VERSION,
        platform.platform(),
    )
    return {
        "device": device or "not named (--device)",
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "versions": ", ".join(versions),
        "command": command_line(),
    }


def read_results(file: Path, device: str = "") -> list[Result]:
    """Return the results of a device, by its name if there are several, in an earlier run's records (`--json`).

    Raises ConfigError.
    """
    try:
        return [typed_json.convert(each, Result) for each in read_cases(file) if each.get("device", "") == device]
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{file}: {error}", hint=_RECORDS) from None


def read_cases(file: Path) -> list[Fields]:
    """Return the records of cases of an earlier run, without one that was cut off when it was killed. Raises
    ConfigError."""
    data, records = read_file(file).removeprefix(codecs.BOM_UTF8), list[object]()
    for line in data.splitlines(keepends=True):
        try:
            records.append(typed_json.decode(line, object) if line.strip() else None)
        except msgspec.DecodeError as error:
            if not records or line.endswith(b"\n"):
                raise ConfigError(f"{file}: {error}", hint=_RECORDS) from None
    return [each for each in records if isinstance(each, dict) and "case" in each]


async def run_cases(
    run: Callable[[C], Awaitable[Result]],
    cases: Sequence[C],
    report: "Reporter",
    done: Sequence[Result] = (),
    *,
    alone: bool = True,
    reboot: Callable[[], Awaitable[bool]] | None = None,
    without_device: Container[str] = (),
) -> list[Result]:
    """Run the cases without a conclusive result in `done`; SIGTERM or Ctrl-C ends the run, not its report.

    A run that is not `alone` leaves signals and logging to `run_devices`. With `reboot`, which says whether the device
    was restarted, a device that is stuck is restarted, and the cases in which it was are repeated once; else the run
    ends with those that are judged `without_device`, by their ids. It goes on with a device that still answers.
    """
    known = {each.case: each for each in done if each.verdict is not Verdict.INCONCLUSIVE}
    earlier, repeated, row, vain = set(known), set[str](), list[C](), False
    left = deque(cases)
    with _alone() if alone else contextlib.nullcontext(), contextlib.suppress(asyncio.CancelledError):
        while left:
            case = left.popleft()
            if case.id in earlier:
                report.repeated(case, known[case.id])
                continue
            if report.stuck and case.id not in without_device:
                continue
            report.begins(case)
            known[case.id] = result = await _survived(run, case)
            report.ended(case, result)
            failed = result.verdict is Verdict.INCONCLUSIVE and result.found.startswith((PRECONDITION, REFUSED))
            row, vain = ([*row, case], vain) if failed else ([], False)
            if reboot is None or len(row) < STUCK:
                continue
            ids = {each.id for each in row}
            if vain or ids & repeated or not await reboot():
                vain = any(known[each].found.startswith(REFUSED) for each in ids)
                if not vain:
                    report.stuck = f"in {STUCK} cases in a row the device did not come to where they begin"
            else:
                repeated |= ids
                left.extendleft(reversed(row))
            row = []
    results = [known[case.id] for case in cases if case.id in known]
    report.done(results)
    return results


async def _survived(run: Callable[[C], Awaitable[Result]], case: C) -> Result:
    """Run a case; a tester that fails judges nothing, and the log fails the run in the end (`v2g_cli.main`)."""
    began = time.monotonic()
    try:
        return await run(case)
    except V2GError:
        raise
    except Exception as error:  # noqa: BLE001 - the other cases are still judged
        _log.exception("case %s", case.id)
        found = f"the tester failed: {type(error).__name__}: {error}"[:200]
        seconds = round(time.monotonic() - began, 3)
        return Result(case=case.id, verdict=Verdict.INCONCLUSIVE, found=found, seconds=seconds)


def ending(
    results: Sequence[Result], cases: Sequence[Described], *, stuck: bool = False, rules: Container[str] = ()
) -> int:
    """Return the exit code of a run; 130 when it was interrupted, 1 or 3 when the device was `stuck`.

    `rules`, by their ids, that hold do not make a run of cases conclusive.
    """
    code = exit_code(results) or exit_code([each for each in results if each.case not in rules] or results)
    if stuck:
        return code or 3
    return code if len(results) == len(cases) else _INTERRUPTED


def combined(codes: Sequence[int]) -> int:
    """Return the exit code of the runs of several devices: interrupted, failed, inconclusive, in this order."""
    return next((code for code in (_INTERRUPTED, 1, 3) if code in codes), 0)


async def run_devices(runs: Sequence[Callable[[], Awaitable[None]]], parallel: int) -> None:
    """Run devices, at most `parallel` at the same time; SIGTERM or Ctrl-C ends all runs."""
    free = asyncio.Semaphore(parallel)

    async def one(run: Callable[[], Awaitable[None]]) -> None:
        async with free:
            await run()

    tasks = [child(one(run)) for run in runs]
    try:
        with _alone():
            await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        await asyncio.gather(*tasks, return_exceptions=True)  # they have been cancelled, and end their reports


def write_reports(
    kind: str,
    about: Mapping[str, str],
    cases: Sequence[Described],
    results: Sequence[Result],
    page: Callable[[str, str], str | None],
    *,
    junit: Path | None,
    html: Path | None,
    json: bool,
    notice: str = NOTICE,
) -> None:
    """Write the reports. `page`: see `report.write_pages`. Raises StoreError."""
    if junit is not None:
        conform_report.write_junit(junit, kind, about, cases, results, notice)
    if html is not None:
        conform_report.write_pages(html, kind, about, cases, results, page, notice)
        if not json:
            say(f"{html / 'index.html'}")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Log quietly, and let SIGTERM and Ctrl-C cancel the task; a signal that comes twice leaves the report to it."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    signals = signal.SIGTERM, signal.SIGINT  # asyncio's own handler of the latter raises at the second one
    with quiet():
        for each in signals:
            loop.add_signal_handler(each, task.cancel)
        try:
            yield
        finally:
            for each in signals:
                loop.remove_signal_handler(each)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Log errors only: failing handshakes are part of the test."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class Reporter:
    """Shows progress: colours at a terminal, lines in a pipe, records with --json.

    `device` is its name in lines and records, where several are tested at once.
    """

    def __init__(
        self,
        cases: Sequence[Described],
        about: Mapping[str, str],
        *,
        json: bool,
        notice: str = NOTICE,
        device: str = "",
        more: Callable[[str], Mapping[str, object]] = lambda _: {},
    ) -> None:
        """`more` returns what else the record of a case has, by its id."""
        self._more = more
        self.stuck = ""
        """Why the device does not come to where cases begin, so that the others are not run."""
        self._cases = cases
        self._device, self._named = device, {"device": device} if device else {}
        self._about, self._notice = about, notice
        self._count, self._number, self._json = len(cases), 0, json
        self._seconds = 0.0
        self._noted_at = time.monotonic()
        self._console = terminal() if sys.stdout.isatty() and not json and not device else None
        self._status = self._console.status("") if self._console is not None else None

    def begins(self, case: Described) -> None:
        """A case begins."""
        self._number += 1
        if self._status is not None:
            self._status.update(f"{self._number} of {self._count}{self._left()}  {case.id}  {case.title}")
            self._status.start()

    def note(self, text: str) -> None:
        """Show how far the present case is; in a pipe, every 10 s."""
        if self._status is not None:
            self._status.update(text)
        elif (now := time.monotonic()) - self._noted_at >= _NOTES_EVERY_S:
            self._noted_at = now
            say(text, err=True)

    def repeated(self, case: Described, result: Result) -> None:
        """The result of a case that was run earlier: a record, so that those of this run are complete."""
        self._number += 1
        if self._json:
            self._record(case, result)

    def _record(self, case: Described, result: Result) -> None:
        print_json(
            self._named
            | {name: getattr(case, name) for name in ("title", "required", "requirements", "published")}
            | msgspec.to_builtins(result)
            | self._more(case.id)
        )

    def ended(self, case: Described, result: Result) -> None:
        """The result of a case; a failure with the numbers of what it violates."""
        ids = f" [{', '.join(case.requirements)}]" if result.verdict is Verdict.FAIL and case.requirements else ""
        if self._json:
            self._record(case, result)
        elif self._console is not None:
            colour = _COLOURS[result.verdict]
            self._console.print(Text(f"{result.verdict.value:14}", colour), f"{case.id}  {result.found}{ids}")
        else:
            say_row(*self._named.values(), result.verdict.value, case.id, f"{result.found}{ids}")
        self._seconds += result.seconds
        if self._number % _REPORTS_EVERY == 0 and self._console is None:
            say(self._prefixed(f"{self._number} of {self._count}{self._left()}"), err=True)

    def _prefixed(self, text: str) -> str:
        return f"{self._device}: {text}" if self._device else text

    def _left(self) -> str:
        """Return the remaining time, by the mean of the cases so far."""
        if not self._seconds:
            return ""
        rest_s = self._seconds / max(1, self._number - 1) * (self._count - self._number)
        return f", about {rest_s / 60:.0f} min left" if rest_s > 90 else f", about {rest_s:.0f} s left"

    def done(self, results: Sequence[Result]) -> None:
        """End of the run."""
        if self._status is not None:
            self._status.stop()
        counted = totals(results)
        if self._json:
            counts = {verdict.value: n for verdict, n in counted.items()}
            left = [case.id for case in not_run(self._cases, results)]
            print_json(self._named | {"totals": counts, "not_run": left, "about": self._about, "notice": self._notice})
        else:
            if self.stuck:
                say(self._prefixed(f"stopped: {self.stuck}"))
            if len(results) < self._count:
                what = "stopped" if self.stuck else "interrupted"
                say(self._prefixed(f"{what} after {len(results)} of {self._count} cases"))
            say(self._prefixed(", ".join(f"{n} {verdict.value}" for verdict, n in counted.items())))
            if self._notice:
                say(self._notice)


class LabRun(Generic[C]):
    """A run of the chosen cases at one device, with its reports. Raises ConfigError without any; with --list it lists
    them, and exits."""

    def __init__(
        self, kind: str, every: Sequence[C], selection: Selection, reports: Reports, notice: str, *, of: str = ""
    ) -> None:
        self._kind, self._reports, self._notice = kind, reports, notice
        self.cases = chosen(every, selection.only or (), skip=selection.skip or (), quick=selection.quick)
        if not self.cases:
            raise ConfigError("no such case", hint=f"v2g conform {kind} {of}--list")
        if selection.listed:
            list_cases(self.cases, json=reports.json)
            raise typer.Exit
        self.about = describe(reports.device)
        self._done = [] if reports.resume is None else read_results(reports.resume)

    def prepare(self) -> None:
        """Create the folders of the reports before the device is reached. Raises StoreError."""
        conform_report.prepare(self._reports.junit, self._reports.html)

    async def run(self, case: Callable[[C], Awaitable[Result]]) -> list[Result]:
        """Run the cases; return their results."""
        shown = Reporter(self.cases, self.about, json=self._reports.json, notice=self._notice)
        return await run_cases(case, self.cases, shown, self._done)

    def end(self, results: Sequence[Result], page: Callable[[str, str], str | None] = lambda *_: None) -> NoReturn:
        """Write the reports (`page`: see `report.write_pages`), and exit. Raises StoreError."""
        to = self._reports
        found = self._kind, self.about, self.cases, results, page
        write_reports(*found, junit=to.junit, html=to.html, json=to.json, notice=self._notice)
        raise typer.Exit(ending(results, self.cases))


def fields(case: Described) -> dict[str, object]:
    """Return what a record of a case has."""
    if isinstance(case, Case):
        return {**msgspec.to_builtins(case), "group": case.group}
    names = ("id", "title", "required", "requirements", "profiles", "versions", "needs", "quick", "group")
    return {name: getattr(case, name) for name in names if hasattr(case, name)}


def say_ruled_out(file: Path, cases: Sequence[C], why: Callable[[C], str], what: str) -> None:
    """Say which cases a declaration rules out, by the reason that `why` gives, and how many are left."""
    ruled_out = [(case.id, absent) for case in cases if (absent := why(case))]
    for case_id, absent in ruled_out:
        say_row("not applicable", case_id, absent)
    say(f"{file}: {len(cases) - len(ruled_out)} of {len(cases)} {what} may run")


def list_cases(cases: Sequence[Described], *, json: bool) -> None:
    """List cases."""
    if json:
        for case in cases:
            print_json(fields(case))
        return
    print_table(
        "Cases",
        ("Case", "What is done", "Required", "Requirements", "Open"),
        ((case.id, case.title, case.required, " ".join(case.requirements), case.open) for case in cases),
    )
