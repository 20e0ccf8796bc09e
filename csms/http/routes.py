"""All routes, collected from the `api` modules of the features."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

import msgspec

import csms
from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.openapi import document
from csms.http.operations import Operation, declared, get
from csms.requests import api as requests


@get("/openapi.json", Permission.PUBLIC, answer=dict[str, Any])
async def read_interface(call: Call) -> bytes:
    """Return the OpenAPI 3.1 document."""
    return interface()


OPERATIONS = tuple(
    each
    for feature in iter_modules(csms.__path__, "csms.")
    if feature.ispkg and find_spec(f"{feature.name}.api")
    for each in declared(Operation, import_module(f"{feature.name}.api"))
)
OPERATIONS += (*requests.OPERATIONS, read_interface)
"""All routes."""


@cache
def interface() -> bytes:
    """Return the OpenAPI document."""
    return msgspec.json.encode(document(OPERATIONS))
