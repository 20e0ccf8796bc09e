"""All routes, collected from the resources."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import msgspec

from csms.api import authorization, billing, charging, diagnostics, security, stations, transactions
from csms.api.http.call import Call
from csms.api.http.openapi import document
from csms.api.http.operations import Operation, declared, get
from csms.api.stations import commands
from csms.domain.security.access import Permission


@get("/openapi.json", Permission.PUBLIC, answer=dict[str, Any])
async def read_interface(call: Call) -> bytes:
    """Return the OpenAPI 3.1 document."""
    return interface()


OPERATIONS = tuple(
    each
    for folder in (authorization, billing, charging, diagnostics, security, stations, transactions)
    for module in iter_modules(folder.__path__, f"{folder.__name__}.")
    for each in declared(Operation, import_module(module.name))
)
OPERATIONS += (*commands.OPERATIONS, read_interface)
"""All routes."""


@cache
def interface() -> bytes:
    """Return the OpenAPI document."""
    return msgspec.json.encode(document(OPERATIONS))
