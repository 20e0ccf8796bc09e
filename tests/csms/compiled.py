"""Statements compiled once for all databases of a kind: SQLAlchemy keeps them for each engine, and tests have many."""

from typing import Any, Final

from sqlalchemy import Engine, create_engine


class _Compiled:
    """What was compiled, by the name of a dialect instead of the dialect itself."""

    def __init__(self) -> None:
        self._kept: dict[Any, Any] = {}

    def get(self, key: tuple[Any, ...]) -> Any:
        """Return a compiled statement, if there is one."""
        return self._kept.get((key[0].name, *key[1:]))

    def __setitem__(self, key: tuple[Any, ...], statement: Any) -> None:
        """Keep a compiled statement."""
        self._kept[key[0].name, *key[1:]] = statement


_COMPILED: Final = _Compiled()


def sharing_engine(*arguments: Any, **options: Any) -> Engine:
    """Return an engine that uses what others have compiled."""
    return create_engine(*arguments, execution_options={"compiled_cache": _COMPILED}, **options)
