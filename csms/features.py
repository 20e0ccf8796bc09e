"""The features: every folder of `csms`, and what the modules of one name declare in them."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType

import csms


def modules(name: str) -> Iterator[ModuleType]:
    """Import and yield the module of this name of each feature that has one, in the order of the features' names."""
    for feature in iter_modules(csms.__path__, "csms."):
        if feature.ispkg and find_spec(f"{feature.name}.{name}"):
            yield import_module(f"{feature.name}.{name}")
