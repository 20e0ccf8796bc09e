"""A case for a charging station or a back end: what is done, what is required, and how its verdict is found.

A case is data and a short script. Ids and names are those of OCPP 2.0.1 part 6 where a case follows one of its
tests; the scripts are our own. A script ends with a pass, or raises `Failed`, `Inconclusive`, `NotExercised` or
`NotApplicable`; one that has judged nothing is not exercised.
"""

import contextlib
import copy
import re
from collections.abc import Awaitable, Callable, Container, Coroutine, Iterator
from types import CodeType
from typing import Final, Generic, Literal, TypeVar

from v2g.io.runtime.clock import Clock
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time
from v2g.typed_json import Fields
from v2g_testkit.cases.case import PRECONDITION, REFUSED, Described, Verdict

Payload = Fields
T = TypeVar("T")
V = TypeVar("V")
Script = Callable[[T], Awaitable[None]]

Profile = Literal[
    "Core",
    "Advanced Security",
    "Local Authorization List Management",
    "Smart Charging",
    "Advanced Device Management",
    "Reservation",
    "Advanced User Interface",
    "ISO 15118 Support",
    "Remote Trigger",
    "Firmware Management",
]
"""Certification profiles of OCPP 2.0.1 part 5, and two of OCPP 1.6."""

_ID: Final = re.compile(r"[A-Z][0-9]{2}\.FR\.[0-9]+")

BOTH: Final[tuple[Version, ...]] = ("2.0.1", "2.1")


class Ended(Exception):
    """The end of a script before its last line."""

    verdict: Verdict

    def __init__(self, found: str, requirement: str = "") -> None:
        super().__init__(f"{found} ({requirement})" if requirement else found)


class Failed(Ended):
    """The device violates a requirement."""

    verdict = Verdict.FAIL


class WrongAnswer(Failed):
    """It answers, or sends something that does not meet a requirement."""


class Inconclusive(Ended):
    """The device did not come to the state in which the case begins."""

    verdict = Verdict.INCONCLUSIVE


class NotExercised(Ended):
    """The device had no chance to show what the case is about."""

    verdict = Verdict.NOT_EXERCISED


class NotApplicable(Ended):
    """The device does not have what the case needs."""

    verdict = Verdict.NOT_APPLICABLE


@contextlib.contextmanager
def precondition() -> Iterator[None]:
    """Turn a failure on the way to the state in which a case begins into an inconclusive result."""
    try:
        yield
    except Failed as failure:
        raise Inconclusive(f"{REFUSED if isinstance(failure, WrongAnswer) else PRECONDITION}{failure}") from None


async def given(*steps: Coroutine[None, None, V]) -> V:
    """Do steps, one after the other, on the way to the state in which a case begins; return the last one's result.

    Raises Inconclusive.
    """
    with precondition(), contextlib.ExitStack() as stack:
        for each in steps:
            stack.callback(each.close)  # those that are not reached
        for each in steps:
            result = await each
        return result


class CaseTest:
    """What every script gets. `numbers` are for requests; what is pushed on `stack` is done after the case."""

    def __init__(self, clock: Clock, numbers: Iterator[int], stack: contextlib.AsyncExitStack) -> None:
        self._clock, self._numbers, self._stack = clock, numbers, stack
        self.judged = 0
        """How many duties the device has shown so far."""

    def check(self, holds: bool, requirement: str, found: str) -> None:
        """Raise Failed, with what was found instead, unless the requirement holds."""
        self.judged += 1
        if not holds:
            raise WrongAnswer(found, requirement)

    def equal(self, found: V, wanted: object, requirement: str, text: str) -> V:
        """Return what was found. Raise Failed unless it is as wanted; `{}` in the text is what was found."""
        self.check(found == wanted, requirement, text.format(found))
        return found

    def one_of(self, found: V, wanted: Container[V], requirement: str, text: str) -> V:
        """As `equal`, for one of several values."""
        self.check(found in wanted, requirement, text.format(found))
        return found

    def undo(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do something after the case, whatever its result; the latest first."""

        async def quietly() -> None:
            with contextlib.suppress(Ended):
                await work()

        self._stack.push_async_callback(quietly)

    def next_id(self) -> int:
        """Return a number for a request: of a report, a profile, a reservation."""
        return next(self._numbers)

    def now(self) -> str:
        """Return the time as OCPP writes it."""
        return self.later(0)

    def later(self, seconds: float) -> str:
        """Return a time in the future, or below 0 in the past."""
        return format_time(self._clock.utc_ms() + round(seconds * 1000))


class OcppCase(Described, Generic[T], frozen=True, kw_only=True):
    """One case. `T` is what its script gets: `StationTest` or `CsmsTest`; the verdict rests on `requirements`, ids of
    OCPP part 2."""

    script: Script[T]
    profiles: tuple[Profile, ...]
    versions: tuple[Version, ...]
    needs: tuple[str, ...]
    """What the device must have: `Component.Variable` that is true in its device model, or a feature of its
    declaration."""
    booted: bool
    """Whether the station that the tester is has booted when the script begins, for a case for back ends."""

    @property
    def group(self) -> str:
        """The functional block: A, B, ..., of OCPP 1.6 the profile."""
        if self.versions == ("1.6",):
            return self.profiles[0]
        return self.id.split("_")[1] if self.id.startswith("TC_") else self.id.split("-")[1]


class Block(Generic[T]):
    """The cases of a functional block; `case` adds one. What it is given holds for those that say nothing else."""

    def __init__(
        self,
        *,
        profiles: tuple[Profile, ...] = ("Core",),
        versions: tuple[Version, ...] = BOTH,
        needs: tuple[str, ...] = (),
        booted: bool = False,
    ) -> None:
        self.cases: list[OcppCase[T]] = []
        self._profiles, self._versions, self._needs, self._booted = profiles, versions, needs, booted

    def having(
        self,
        *,
        profiles: tuple[Profile, ...] | None = None,
        versions: tuple[Version, ...] | None = None,
        needs: tuple[str, ...] | None = None,
        booted: bool | None = None,
    ) -> "Block[T]":
        """Return what adds cases to this block for which something else holds."""
        other = copy.copy(self)
        other._profiles = self._profiles if profiles is None else profiles
        other._versions = self._versions if versions is None else versions
        other._needs = self._needs if needs is None else needs
        other._booted = self._booted if booted is None else booted
        return other

    def case(
        self,
        id: str,  # noqa: A002
        title: str,
        *,
        required: str = "",
        also: str | tuple[str, ...] = (),
        requirements: str | tuple[str, ...] | None = None,
        profiles: tuple[Profile, ...] | None = None,
        versions: tuple[Version, ...] | None = None,
        needs: tuple[str, ...] | None = None,
        quick: bool = False,
    ) -> Callable[[Script[T]], Script[T]]:
        """Return a decorator that makes a case of a script.

        What is required is the script's docstring, unless it is given. The requirements are those that the script
        names or has from around it, and `also` those that its steps check; or those that are given. A text has ids with
        spaces between them.
        """

        def add(script: Script[T]) -> Script[T]:
            around = tuple(each.cell_contents for each in getattr(script, "__closure__", None) or ())
            named = {*_ids(also), *_named((getattr(script, "__code__", None), *around))}
            case = OcppCase(
                id=id,
                title=title,
                script=script,
                required=required or " ".join((script.__doc__ or "").split()),
                requirements=tuple(sorted(named)) if requirements is None else _ids(requirements),
                profiles=self._profiles if profiles is None else profiles,
                versions=self._versions if versions is None else versions,
                needs=self._needs if needs is None else needs,
                quick=quick,
                booted=self._booted,
            )
            self.cases.append(case)
            return script

        return add


def _ids(given: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(given.split()) if isinstance(given, str) else given


def _named(found: object) -> Iterator[str]:
    """Yield the ids of requirements among the constants of code, and of what is given to it."""
    if isinstance(found, str) and _ID.fullmatch(found):
        yield found
    for each in found.co_consts if isinstance(found, CodeType) else found if isinstance(found, tuple) else ():
        yield from _named(each)
