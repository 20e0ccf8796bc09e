"""Shared by the programs: arguments, configuration file, log, signals and exit codes."""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import stat
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from v2g.errors import DEFECT_EXIT, ConfigError, V2GError, disk_named
from v2g.extras import extras_named
from v2g.io.runtime.service_manager import feed_watchdog, notify
from v2g.io.runtime.supervision import child, spawn
from v2g.io.storage.growing_file import MIB, GrowingFile, LogFiles, reopen_all
from v2g.text import printable, redacted

Config = TypeVar("Config")

EXIT_CODES = """exit codes: 0 done, 1 failure, 2 configuration, 3 protocol, 4 trust, 5 refused, 6 timeout, 7 transport,
8 storage, 70 defect, 130 interrupted"""


CONFIG_FOLDER: Final = Path("/etc/v2g-engine")
"""Where an installed program has its configuration: `secc.toml`, `csms.toml`, `telemetry.toml`."""


def config_path(given: Path | None, program: str) -> Path:
    """Return a program's configuration file (R157): `given`, else its own in CONFIG_FOLDER, `.toml` before `.yaml`.

    Each program has a file of its own there, so a `config.yaml`, which names none, is only read if it is given; the
    error names it (R216). Raises ConfigError if there is no file.
    """
    if given is not None:
        return given
    usual = [CONFIG_FOLDER / f"{program}.{suffix}" for suffix in ("toml", "yaml")]
    found = next((path for path in usual if os.access(path, os.F_OK)), None)
    if found is None:
        shared, hint = CONFIG_FOLDER / "config.yaml", "add --config FILE"
        if os.access(shared, os.F_OK):
            hint = f"{shared} is not read: rename it to {usual[1].name}, each program has a file of its own"
        raise ConfigError(f"no configuration given, and there is no {usual[0]} or {usual[1].name}", hint=hint)
    return found


def arguments(name: str, description: str, argv: Sequence[str] | None = None) -> tuple[Path, Path | None]:
    """Return `(config, events)` of a program's command line; `--help` and errors end the process."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        epilog=f"example: python -m {name} --config /etc/v2g-engine/{name}.toml\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    program = "telemetry" if name == "v2g_gateway" else name
    usual = CONFIG_FOLDER / f"{program}.toml"
    parser.add_argument("--config", type=Path, help=f"TOML or YAML file of mode 0600; default: {usual}")
    parser.add_argument("--events", type=Path, help="append one JSON line per event to this file")
    options = parser.parse_args(argv)
    try:
        return config_path(options.config, program), options.events
    except ConfigError as error:
        parser.error(f"{error} ({error.hint})")


def read_config(path: Path) -> str:
    """Return the text of a configuration file. Raises ConfigError when others may read or change it (R150)."""
    try:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder", hint="give the configuration file in it")
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(f"{path} has mode {mode:04o}: others may read or change it", hint=f"chmod 600 {path}")
        return path.read_text(encoding="utf-8-sig")  # with the mark that Windows' editor writes, too
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="--help shows an example") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None


class _Lines(logging.Formatter):
    """Keeps a message on one line, and removes control sequences of peers."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        return printable(redacted(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return printable(redacted(super().formatException(ei)), lines=True)


class _FileHandler(logging.Handler):
    """Writes log lines to a growing file; lines that cannot be written go to standard error."""

    def __init__(self, file: GrowingFile) -> None:
        super().__init__()
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record) + "\n"
        try:
            self._file.append(line.encode(errors="backslashreplace"))
        except OSError:
            sys.stderr.write(line)

    def close(self) -> None:
        self._file.close()
        super().close()


def start_log(files: LogFiles = LogFiles()) -> None:  # noqa: B008 - it does not change
    """Log to standard error, or the file in `files`, from its level on: a line with time, level, module, message.

    Raises StoreError.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if files.file is not None:
        handler = _FileHandler(GrowingFile(files.file, max_bytes=files.max_mib * MIB, keep=files.keep))
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=files.level.upper(), handlers=[handler], force=True)


def allow_many_files() -> None:
    """Allow this process as many connections as the system permits: the default suffices for 1,000 stations."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory of event loops, or None where it is not available (Windows)."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return new_event_loop


def keep_responsive() -> None:
    """Reduce pauses of the event loop, when all permanent objects are loaded.

    The cycle collector examines only newer objects, and rarely: with many vehicles it would otherwise
    take longer than a vehicle waits. A computing thread yields after a millisecond.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()  # disabled during the start, when nothing loaded becomes garbage
    sys.setswitchinterval(0.001)


class OrderlyEnd:
    """Handling of the first SIGTERM or SIGINT in a program that ends gracefully; the second one ends it at once."""

    def __init__(self) -> None:
        self._begin: Callable[[], bool] = lambda: False
        self.asked = False
        """Whether the program was asked to end."""

    def by(self, begin: Callable[[], bool]) -> None:
        """Register `begin`: it returns whether a graceful end has begun; if not, there is nothing to end."""
        self._begin = begin

    def ask(self) -> bool:
        """Begin to end; return False when the program must be ended at once."""
        if self.asked:
            return False
        self.asked = True
        return self._begin()


def run(
    load: Callable[[], Config],
    log: Callable[[Config], LogFiles],
    program: Callable[[Config], Coroutine[object, object, int]],
    *,
    interrupted: int = 0,
    end: OrderlyEnd | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> int:
    """Load a configuration, log as `log` says, run the program to its end, and return its exit code.

    A service manager's watchdog is fed meanwhile; the program itself notifies that it is ready.
    SIGHUP reopens log and event files, except in a terminal or where a program handles it otherwise.
    SIGTERM and SIGINT cancel it, which is how a server ends; `interrupted` is the exit code then. With `end` the first
    one ends it gracefully if possible. An error of `v2g.errors` becomes one log line with its hint and the
    exit code of its kind; any other exception one with its traceback and a request for a report, and DEFECT_EXIT.
    """
    start_log()
    try:
        config = load()
        start_log(log(config))
        from v2g.io.runtime.config_files import expired  # here: commands that read a configuration do without

        for each in expired(config):
            logging.getLogger("v2g").warning("%s", each)
        keep_responsive()
        with extras_named(), disk_named(), asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(until_signalled(program(config), interrupted, end or OrderlyEnd()))
    except V2GError as error:
        logging.getLogger("v2g").error("%s%s", error, f" ({error.hint})" if error.hint else "")
        return error.exit_code
    except Exception:
        logging.getLogger("v2g").exception("a defect of this program ends it; please report these lines")
        return DEFECT_EXIT


async def until_signalled(program: Coroutine[object, object, int], interrupted: int, end: OrderlyEnd) -> int:
    """Return the program's exit code, or `interrupted` once a signal has ended it in order."""
    task = child(program)
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        notify("STOPPING=1")
        if not end.ask():
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and not os.isatty(0):
        loop.add_signal_handler(signal.SIGHUP, reopen_all)
    feeding = spawn(feed_watchdog())
    try:
        return await task
    except asyncio.CancelledError:
        return interrupted
    finally:
        feeding.cancel()
