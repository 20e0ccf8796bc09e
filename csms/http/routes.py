"""All routes, collected from the `api` modules of the features."""

from functools import cache

import msgspec

from csms.accounts.rules import Permission
from csms.features import modules
from csms.http.call import Call
from csms.http.openapi import document
from csms.http.operations import Operation, declared, get
from v2g.typed_json import Fields


@get("/openapi.json", Permission.PUBLIC, answer=Fields)
async def read_interface(call: Call) -> bytes:
    """Return the OpenAPI 3.1 document."""
    return interface()


OPERATIONS = (*(each for module in modules("api") for each in declared(Operation, module)), read_interface)
"""All routes."""


@cache
def interface() -> bytes:
    """Return the OpenAPI document."""
    return msgspec.json.encode(document(OPERATIONS))
