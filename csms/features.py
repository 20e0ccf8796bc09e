"""The features: every folder of `csms`, and what the modules of one name declare in them."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType

import csms


def modules(*names: str) -> Iterator[ModuleType]:
    """Import and yield the module of each feature that has the first of these names, in the order of the features."""
    for feature in iter_modules(csms.__path__, "csms."):
        found = (each for name in names if find_spec(each := f"{feature.name}.{name}"))
        if feature.ispkg and (module := next(found, None)):
            yield import_module(module)
