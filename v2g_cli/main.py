"""The `v2g` command.

Every error of `v2g.errors` ends as one line and a hint on standard error, with the exit code of its kind, never
as a traceback. An exception that no code expects ends as a line, too, with its details in a file (`v2g_cli.main`).
"""

import contextlib
import functools
import logging
import math
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer import core
from typer.core import TyperGroup
from typer.main import get_command, get_group

from v2g.errors import DEFECT_EXIT, ConfigError, V2GError, disk_named
from v2g.extras import extras_named
from v2g.observe import Scalar, defect
from v2g.text import redacted
from v2g.version import VERSION
from v2g_cli.options import CheckFlag, check_config, command_line
from v2g_cli.output import say

MOST: Final = 10
"""Defects that are printed and written down; further ones are counted."""

_OWN: Final = frozenset(
    {"asyncio", "csms", "evcc", "pki_tools", "secc", "v2g", "v2g_cli", "v2g_gateway", "v2g_station", "v2g_testkit"}
)
"""Loggers whose exceptions are ours; what other packages log is about peers."""


class Defects(logging.Handler):
    """Log of a command: a line each on standard error, and never a traceback there.

    A record is about a defect if one of our loggers has an exception that is no V2GError, or has the fields of
    `v2g.observe.defect` as `defect` (`extra`). With `of_others` (`extra`) it is about code of others, such as a
    driver: its author needs the traceback.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = self._reported = 0
        self._file: Path | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        error = record.exc_info[1] if record.exc_info else None
        said = redacted(record.getMessage()) + (f": {error}" if error is not None else "")
        if (fields := getattr(record, "defect", None)) is not None:
            self.report(record.getMessage(), fields)
        elif record.name.split(".")[0] in _OWN and isinstance(error, Exception) and not isinstance(error, V2GError):
            self.report(record.getMessage(), defect(error), ours=not hasattr(record, "of_others"))
        else:
            say(f"v2g: {said}"[:500], err=True)

    def report(self, where: str, found: dict[str, Scalar], *, ours: bool = True) -> None:
        """Print a defect and write it down: where it was, and the fields of `v2g.observe.defect`."""
        self.count += ours
        self._reported += 1
        if self._reported > MOST:
            return
        whose = "a defect of this program, " if ours else ""
        say(f"v2g: {whose}{redacted(where)[:200]}: {found['error']}", err=True)
        try:
            self._write(f"{where}\n{found['traceback']}\n")
        except OSError as error:
            say(f"     it could not be written down: {error.strerror}", err=True)
        else:
            report = f"please report it with {self._file}, which has no keys and passwords"
            say(f"     {report if ours else f'its traceback is in {self._file}'}", err=True)

    def _write(self, text: str) -> None:
        if self._file is None:
            import platform
            import ssl
            import tempfile

            handle, name = tempfile.mkstemp(prefix="v2g-defect-", suffix=".txt")  # mode 0600
            self._file = Path(name)
            about = (VERSION, platform.python_version(), ssl.OPENSSL_VERSION, platform.platform())
            text = f"{command_line()}\n{', '.join(about)}\n\n{text}"
        else:
            handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        with os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)


@contextlib.contextmanager
def reporting_defects() -> Iterator[Defects]:
    """Report exceptions that no code expects: of the event loop, its tasks and of threads, while a command runs."""
    found, root, hook = Defects(), logging.getLogger(), threading.excepthook

    def on_thread(arguments: threading.ExceptHookArgs) -> None:
        if isinstance(arguments.exc_value, Exception):
            name = arguments.thread.name if arguments.thread else ""
            found.report(f"thread {name}", defect(arguments.exc_value))

    root.addHandler(found)
    threading.excepthook = on_thread
    try:
        yield found
    finally:
        threading.excepthook = hook
        root.removeHandler(found)


app = typer.Typer(
    name="v2g",
    help="Plug and charge, discharge, settle: an ISO 15118-20 charger and vehicle, an OCPP back end, and their tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@functools.cache
def _commands(module: str) -> TyperGroup:
    """Return the commands of a module's `app`: a process that runs several puts them together once."""
    return get_group(import_module(module).app)


def _group(name: str, module: str, what: str, *, command: str = "", within: typer.Typer = app) -> None:
    """Add the commands of a module's `app`, or one of its functions as a command; imported when called or shown."""

    class Group(TyperGroup):
        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            if command:
                alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
                alone.command()(getattr(import_module(module), command))
                return get_command(alone).make_context(info_name, args, parent=parent, **extra)
            group = _commands(module)
            group.help = group.help or self.help
            return group.make_context(info_name, args, parent=parent, **extra)

    within.add_typer(typer.Typer(cls=Group), name=name, help=what)


_group(
    "demo",
    "v2g_cli.demo.command",
    "Run a whole session across four programs (csms, secc, evcc, telemetry gateway) and show the events.",
    command="demo",
)
_group("board-sim", "v2g_cli.simulators", "Run a simulated control board until it is stopped.", command="board_sim")
_group(
    "terminal-sim",
    "v2g_cli.simulators",
    "Run a simulated payment terminal (ZVT over TCP) until it is stopped.",
    command="terminal_sim",
)
_group("trace", "v2g_cli.trace.command", "Show the messages between vehicle and charger.", command="trace")
_group(
    "station",
    "v2g_cli.station",
    "Simulate charging stations: the charger's own OCPP code over simulated drivers, vehicles and hardware.",
    command="station",
)
_group(
    "ocpp-bridge",
    "v2g_cli.ocpp_bridge",
    "Put stations of OCPP 1.6 behind a back end of OCPP 2.0.1, or the other way round, until it is stopped.",
    command="ocpp_bridge",
)
_group(
    "vtn",
    "v2g_cli.simulators",
    "Run an OpenADR 3.1 VTN on this machine until it is stopped; it validates requests by the API's schemas.",
    command="vtn",
)
_group("attest", "v2g_cli.attest", "Make and check the signed manifest of a program's files.")
_group("battery", "v2g_cli.battery", "Signed reports on batteries: write one, and verify it offline.")
_group("diag", "v2g_cli.diag.command", "Diagnose links, logs and the machine.")
_group("config", "v2g_cli.config", "Describe the configuration files of the programs.")
_group(
    "conform",
    "v2g_cli.conform.command",
    "Run conformance cases against any charger, vehicle, charging station or back end.",
)
_group("eebus", "v2g_cli.eebus", "Show a charger's EEBUS node, and pair it with control boxes.")
_group(
    "contracts",
    "v2g_cli.contracts",
    "Manage the contract pool of a back end, from which vehicles install their contracts.",
)
_group("csms", "v2g_cli.csms.command", "Run a back end, or administer a running one.")
_group("grid-code", "v2g_cli.grid_code", "Grid codes of a charger: list, show, set with the installer's code.")
_group("emergency", "v2g_cli.emergency", "Show and reset the emergency output of a charger or a vehicle.")
_group("exi", "v2g_cli.exi.command", "Read, write and explain EXI messages.")
_group("hardware", "v2g_cli.hardware", "Show, move and test a charger's hardware; list its drivers and faults.")
_group("ota", "v2g_cli.ota", "Keep a repository of releases of firmware, signed by several holders.")
_group(
    "pki",
    "v2g_cli.pki.command",
    "Make, inspect, renew, revoke and serve certificates of a V2G public-key infrastructure.",
)
_group("plc", "v2g_cli.plc.command", "Listen to a powerline link and read its recordings.")
_group("telemetry", "v2g_cli.telemetry", "Send telemetry of a CAN bus and of local programs to the back end.")
_group("settle", "v2g_cli.settle", "Verify and show the settlement of a charging session.")


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"v2g-engine {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


EventsFile = Annotated[Path | None, typer.Option("--events", help="File for one JSON line per event.")]


def _shown_program(name: str, what: str, of: str) -> None:
    """Add a sub-command that runs a program with a live view, or follows a running one; `init` writes the
    configuration `of` it."""

    def run(
        context: typer.Context,
        config: Annotated[
            Path | None,
            typer.Option("--config", help=f"TOML or YAML, mode 0600; default: /etc/v2g-engine/{name}.toml."),
        ] = None,
        events: EventsFile = None,
        live: Annotated[
            bool,
            typer.Option(
                "--live",
                help="Show stages, battery, power, limits, prices and a charger's parts live; event lines in a pipe.",
            ),
        ] = False,
        check: CheckFlag = False,
        followed: Annotated[
            Path | None, typer.Option("--follow", metavar="EVENTS", help="Show the events of a program instead.")
        ] = None,
    ) -> None:
        if context.invoked_subcommand is not None:
            return
        from v2g.io.runtime.program import config_path
        from v2g.io.runtime.starting import let_wait
        from v2g_cli.live import run_live, watch

        if config is not None and followed is not None:
            raise ConfigError("give either --config or --follow", hint=f"v2g {name} --help shows examples")
        if followed is not None:
            watch(followed)
            return
        config = config_path(config, name)
        if check:
            check_config(name, config)
        if not live:
            # go on as the program itself, in this process, without the 12 MiB that commands import
            isolation = "-I" if sys.flags.isolated else "-P"  # never from the current folder
            options = ["--config", str(config), *([] if events is None else ["--events", str(events)])]
            let_wait()
            os.execv(sys.executable, [sys.executable, isolation, "-m", name, *options])  # noqa: S606 - itself
        raise typer.Exit(run_live(import_module(f"{name}.app").main, config, events))

    examples = f"Examples: `v2g {name} --config {name}.toml --live`, `v2g {name} --follow {name}.events.jsonl`"
    group = typer.Typer(invoke_without_command=True, rich_markup_mode="markdown")
    group.callback(help=f"{what}\n\n{examples}, `v2g {name} init --help`")(run)
    _group("init", "v2g_cli.init", f"Write the configuration of {of}.", command=f"{name}_init", within=group)
    app.add_typer(group, name=name)


_shown_program(
    "secc",
    "Run a charger: ISO 15118-20 SECC and OCPP charging station.",
    "a charger, and its certificates where there are none",
)
_shown_program("evcc", "Run a vehicle: one ISO 15118-20 session, then exit.", "a simulated vehicle with a contract")


COMPLETE: Final = "_V2G_COMPLETE"
"""Variable by which a shell asks for completions: `deploy.manual` writes the scripts."""


class _Plain(core.TyperCommand.context_class.formatter_class):  # type: ignore[name-defined, misc]  # of any Click
    """Help in a pipe: an item of a list keeps its line."""

    def write_text(self, text: str) -> None:
        super().write_text(re.sub(r"\n\n(?=- )", "\n\n\b\n", text))


def _finite(text: str) -> float:
    """Return a number of an option: by NaN or infinity a limit or verdict would hold for everything."""
    if not math.isfinite(number := float(text)):
        raise ValueError
    return number


def main() -> None:
    """Entry point of the `v2g` command."""
    if COMPLETE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]  # imported there

        completion_init()
    core.HAS_RICH = sys.stdout is not None and sys.stdout.isatty()  # help in a pipe is for grep: without boxes
    core.TyperCommand.context_class.formatter_class = core.TyperGroup.context_class.formatter_class = _Plain
    floats = type(core.TyperOption(param_decls=["--x"], type=float).type)
    floats._number_class = staticmethod(_finite)  # type: ignore[attr-defined]  # of any Click
    guarded(app)


def guarded(command: Callable[[], None]) -> None:
    """Run a command; errors are printed as one line and a hint. A defect fails it, wherever it was."""
    code: int | str | None = 0
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller (`>&-`): its number is not for the next file
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    with reporting_defects() as defects:
        try:
            with extras_named(), disk_named(), _arguments_named(), _ungrouped():
                command()
        except V2GError as error:
            say(redacted(f"v2g: {error}"), err=True)
            if error.hint:
                say(f"     {error.hint}", err=True)
            code = error.exit_code
        except SystemExit as end:
            code = end.code
            if isinstance(end.__context__, BrokenPipeError) and _left():
                code = _CUT_OFF if _JUDGES.intersection(sys.argv) and not _SHOWS.intersection(sys.argv) else 0
        except KeyboardInterrupt:
            code = 130
        except Exception as error:  # noqa: BLE001 - the last place to catch it
            defects.report("command", defect(error))
    sys.exit(DEFECT_EXIT if defects.count else code)


@contextlib.contextmanager
def _ungrouped() -> Iterator[None]:
    """Raise the first of the errors that ended a group of tasks: the others follow from it."""
    try:
        yield
    except ExceptionGroup as group:
        if group.split(V2GError)[1] is not None:
            raise
        raise group.exceptions[0] from None


@contextlib.contextmanager
def _arguments_named() -> Iterator[None]:
    """Raise ConfigError for an argument that is not UTF-8 where the block needs text; names of files may be so."""
    try:
        yield
    except UnicodeEncodeError as error:
        odd = next((each for each in sys.argv if each != each.encode(errors="replace").decode()), None)
        if odd is None:
            raise
        raise ConfigError(f"{odd!r} is not UTF-8", hint="let the terminal or script send UTF-8") from error


_JUDGES: Final = frozenset({"verify", "conform", "reconcile", "diag", "check", "test", "--diff", "--check-config"})
"""Words of commands whose exit code is a verdict: one that was cut off has none, and must not pass for a good one."""

_SHOWS: Final = frozenset({"--help", "--list"})

_CUT_OFF: Final = 141
"""Exit code of a shell's command that SIGPIPE ended."""


def _left() -> bool:
    """Return whether the reader of a pipe has seen enough, as in `| head`: then a command has done all it could."""
    out = select.poll()
    out.register(1, 0)
    by_rich = os.path.samestat(os.fstat(1), Path(os.devnull).stat())  # which puts that in its place
    return by_rich or any(event & select.POLLERR for _, event in out.poll(0))
