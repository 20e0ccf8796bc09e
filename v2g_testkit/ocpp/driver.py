"""What a person does at a charging station under test: by a prompt, by a command, or over a connection."""

import asyncio
import functools
import os
import shlex
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from inspect import isfunction, ismodule
from types import CodeType
from typing import Final, Literal, Protocol

import msgspec

from v2g.errors import ConfigError
from v2g.tables import table
from v2g.text import printable
from v2g_testkit.ocpp.case import CaseTest, Inconclusive, NotApplicable, NotExercised

Action = Literal[
    "plug", "unplug", "pull", "suspend", "arrive", "depart", "present", "stop", "fault", "clear", "reboot",
    "jam", "choose", "choose-all", "alert", "vehicle", "needs", "end", "limit", "setpoint", "schedule", "generate",
    "release", "hurry", "relax", "frequency", "pay", "vat", "settlements", "most-energy", "most-time", "most-cost",
]  # fmt: skip

SENTENCES: Final = table("v2g_testkit.ocpp", "sentences.toml", dict[Action, str])

VEHICLES: Final[Mapping[str, str]] = {
    "dynamic": "Plug a vehicle of ISO 15118-20 that can feed back in at EVSE {evse} (dynamic control)",
    "scheduled": "Plug a vehicle of ISO 15118-20 that can feed back in at EVSE {evse} (scheduled control)",
    "iso-2": "Plug a vehicle of ISO 15118-2 in at EVSE {evse}, for which a token identifies (EIM)",
    "contract": "Plug a vehicle of ISO 15118 in at EVSE {evse} that has a contract (Plug & Charge)",
    "install": "Plug a vehicle of ISO 15118 in at EVSE {evse} that has no contract, and asks for one",
    "update": "Plug a vehicle of ISO 15118-2 in at EVSE {evse} that asks for an update of its contract",
}
"""What is done for the action `vehicle`, by its value."""

_MOST_ANSWER: Final = 1000


class Step(msgspec.Struct, frozen=True):
    """One step: what is done, at which EVSE, with which token, and to which value."""

    action: Action
    evse: int = 1
    token: str = ""
    type: str = ""
    value: str = ""

    @property
    def sentence(self) -> str:
        """The step for a person."""
        text = VEHICLES[self.value] if self.action == "vehicle" else SENTENCES[self.action]
        return text.format(evse=self.evse, token=self.token, type=self.type, value=self.value)

    @property
    def line(self) -> str:
        """The step for a program: `plug 1`, `present 1 0A1B2C3D ISO14443`, `limit 1 6000`, `reboot`."""
        words = [self.action, *([] if self.action == "reboot" else [str(self.evse)])]
        return " ".join([*words, *(each for each in (self.token, self.type, self.value) if each)])


class Driver(Protocol):
    """Carries out steps."""

    async def do(self, step: Step) -> None:
        """Carry out a step. Raises NotApplicable if it cannot be done here, NotExercised without a driver, Inconclusive
        if it failed."""


class NoDriver:
    """No driver: steps at the station are not possible. Implements Driver."""

    async def do(self, step: Step) -> None:
        raise NotExercised(f"needs a step at the station: {step.sentence} (--driver or --prompt)")


class PromptDriver:
    """A person, who is asked; `ask` shows a sentence and returns the typed answer. Implements Driver."""

    def __init__(self, ask: Callable[[str], Awaitable[str]]) -> None:
        self._ask = ask

    async def do(self, step: Step) -> None:
        answer = await self._ask(f"{step.sentence}, then press Enter (n: not possible)")
        if answer.strip().lower().startswith("n"):
            raise NotApplicable(f"not possible at this station: {step.sentence}")


class CommandDriver:
    """A command for each step, in which {action}, {evse}, {token}, {type} and {value} are replaced. Implements Driver.

    Exit code 3: not possible.
    """

    def __init__(self, command: str, timeout_s: float = 60.0) -> None:
        try:
            shlex.split(command.format(action="plug", evse=1, token="", type="", value=""))
        except (ValueError, KeyError, IndexError) as error:
            hint = "{action}, {evse}, {token}, {type} and {value} are replaced"
            raise ConfigError(f"--driver {command}: {error}", hint=hint) from None
        self._command, self._timeout_s = command, timeout_s

    async def do(self, step: Step) -> None:
        fields = msgspec.structs.asdict(step)
        words = [each.format(**fields) for each in shlex.split(self._command)]
        code = await exit_code("--driver", words, self._timeout_s)
        if code == NOT_POSSIBLE:
            raise NotApplicable(f"not possible at this station: {step.sentence}")
        if code:
            raise Inconclusive(f"--driver ended with {code}: {step.sentence}")


NOT_POSSIBLE: Final = 3
"""Exit code of a command for a step that cannot be done."""


async def exit_code(option: str, words: Sequence[str], timeout_s: float) -> int:
    """Run the command of an option, and return its exit code. Raises Inconclusive."""
    try:
        process = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL, env=os.environ)
    except OSError as error:
        raise Inconclusive(f"{option} {words[0]}: {error.strerror}") from None
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait()
    except TimeoutError:
        raise Inconclusive(f"{option} took longer than {timeout_s:g} s: {shlex.join(words)}") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class SocketDriver:
    """A program that carries out steps, a line each over TCP: `v2g station --control PORT` is one. Implements Driver.

    It answers `ok`, `no TEXT` (not possible) or `error TEXT`.
    """

    def __init__(self, host: str, port: int, timeout_s: float = 60.0) -> None:
        self._at = host, port
        self._timeout_s = timeout_s

    async def do(self, step: Step) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._told(step.line)
        except (OSError, TimeoutError, ValueError) as error:
            host, port = self._at
            raise Inconclusive(f"no driver at {host}:{port}: {str(error) or 'no answer'}") from None
        if answer.partition(" ")[0] == "no":
            raise NotApplicable(f"not possible at this station: {step.sentence}: {printable(answer[3:])}")
        if answer != "ok":
            raise Inconclusive(f"{step.sentence}: {printable(answer)}")

    async def _told(self, line: str) -> str:
        reader, writer = await asyncio.open_connection(*self._at, limit=_MOST_ANSWER)
        try:
            writer.write(f"{line}\n".encode())
            return (await reader.readline()).decode(errors="replace").strip()
        finally:
            writer.close()


def driver_of(text: str) -> Driver:
    """Return the driver of an option: `tcp://HOST:PORT`, else a command. Raises ConfigError."""
    if not text.startswith("tcp://"):
        return CommandDriver(text)
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"--driver {text}: not an address", hint="tcp://127.0.0.1:9100")
    return SocketDriver(host.strip("[]"), int(port))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


@functools.cache
def _steps(test: type[CaseTest], step: str) -> frozenset[str]:
    """Return the methods of a test that come to a step of this class, but for its end, which tidies up."""
    methods = {name: each.__code__ for kind in test.mro() for name, each in vars(kind).items() if isfunction(each)}
    methods.pop("leave", None)
    found, before = {step}, set[str]()
    while found != before:
        before = set(found)
        found |= {name for name, code in methods.items() if not found.isdisjoint(_names(code))}
    return frozenset(found)


def by_hand(script: object, test: type[CaseTest], step: str, seen: set[int] | None = None) -> bool:
    """Return whether a case's script, or a function of the lab that it names, comes to a step: the class `step`, by
    which a `test` asks for it."""
    known = set() if seen is None else seen
    if isinstance(script, functools.partial):
        inner = (script.func, *script.args, *script.keywords.values())
        return any(by_hand(each, test, step, known) for each in inner)
    if not isfunction(script) or id(script) in known or not script.__module__.startswith("v2g_testkit."):
        return False
    known.add(id(script))
    names = set(_names(script.__code__))
    if not names.isdisjoint(_steps(test, step)):  # type: ignore[arg-type]  # classes have hashes
        return True
    named = [script.__globals__.get(name) for name in names]
    inside = [getattr(each, name, None) for each in named if ismodule(each) for name in names]
    held = [cell.cell_contents for cell in script.__closure__ or ()]
    return any(by_hand(each, test, step, known) for each in (*named, *inside, *held))
