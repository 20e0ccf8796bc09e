"""How much memory an object holds: what strangers send may not make it grow."""

import gc
import sys
from types import FunctionType, ModuleType
from typing import Any

_NOT_ITS_OWN = (type, ModuleType, FunctionType)


def held(thing: Any) -> int:
    """Return the octets of an object and of all that it leads to, but code."""
    seen, todo, octets = {id(thing)}, [thing], 0
    while todo:
        each = todo.pop()
        octets += sys.getsizeof(each)
        for other in gc.get_referents(each):
            if id(other) not in seen and not isinstance(other, _NOT_ITS_OWN):
                seen.add(id(other))
                todo.append(other)
    return octets
