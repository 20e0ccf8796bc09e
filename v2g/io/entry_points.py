"""What other distributions install for a configuration to name: entry points of a group, and why one cannot be used."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from v2g.config import Flaw, Table
from v2g.errors import ConfigError

Part = TypeVar("Part")


@dataclass(frozen=True)
class EntryPointOffer(Generic[Part]):
    """What a configuration may name. `part` is None if it cannot be used because of `error`."""

    name: str
    distribution: str
    version: str
    part: Part | None = None
    error: str = ""


def offers(group: str, kind: type[Part], noun: str, *, name: str | None = None) -> Iterator[EntryPointOffer[Part]]:
    """Yield what the entry points of a group have, by this name or any: a `kind`, or a tuple of them."""
    from importlib.metadata import entry_points  # only programs whose configuration names one need it

    for entry in entry_points(group=group) if name is None else entry_points(group=group, name=name):
        assert entry.dist is not None  # those of `entry_points` have one
        about = entry.name, entry.dist.name, entry.dist.version
        try:
            loaded = entry.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others
            yield EntryPointOffer(*about, error=f"cannot be imported: {said(error)}")
            continue
        for each in loaded if isinstance(loaded, tuple) else (loaded,):
            part = each if isinstance(each, kind) else None
            yield EntryPointOffer(*about, part, "" if part is not None else f"is not {noun}: {entry.value}")


def choose(noun: str, name: str, named: Sequence[EntryPointOffer[Part]], known: Callable[[], Iterable[str]]) -> Part:
    """Return the only usable part of this name; `known` returns the names that there are.

    Raises ConfigError if there is none, or several, or it cannot be used.
    """
    usable = [(each.part, each.distribution) for each in named if each.part is not None]
    if len(usable) > 1:
        raise ConfigError(
            f"{noun} {name!r} is installed by {' and by '.join(each for _, each in usable)}",
            hint="uninstall all but one",
        )
    for part, _ in usable:
        return part
    for each in named:
        raise ConfigError(f"{name!r} of {each.distribution} {each.version} {each.error}")
    there = ", ".join(sorted(set(known()))) or "none"
    raise ConfigError(f"no {noun} {name!r} is installed", hint=f"installed: {there}")


def settings_flaws(
    key: str, config: Callable[[], type[msgspec.Struct]], settings: Table | None, path: tuple[str, ...]
) -> Iterator[Flaw]:
    """Yield why what `key` names cannot be used, and invalid keys of `settings` beside it, by their paths below `path`;
    `config` returns the Struct of these, or raises ConfigError."""
    try:
        for inner, why, hint in (settings or Table({})).read(config())[1]:
            yield (*path, "settings", *inner), why, hint
    except ConfigError as error:
        yield (*path, key), str(error), error.hint


def said(error: BaseException) -> str:
    """Return what code of others raised, in a line."""
    return f"{type(error).__name__}: {error}"
