"""Runs extrawest-ocpi, or py-ocpi, as a roaming partner of both roles, over HTTPS; started by its own interpreter.

    python ocpi_partner.py PORT CHAIN KEY FILE

Tokens of type A and C are `token-a` and `token-c`. `GET /kept` shows what it was sent, `POST /own/MODULE` adds objects
of its own, which `POST /push/2.2.1` (of the package) sends. py-ocpi, from which extrawest-ocpi comes, takes any token,
and wants an adapter of objects.
"""

import json
import sys
from pathlib import Path

import uvicorn
from fastapi import Request
from py_ocpi import get_application
from py_ocpi.core.config import settings
from py_ocpi.core.crud import Crud
from py_ocpi.core.enums import ModuleID, RoleEnum
from py_ocpi.modules.versions.enums import VersionNumber

try:
    from py_ocpi.core.authentication.authenticator import Authenticator
except ImportError:
    from ocpi_adapter import ObjectAdapter

    Authenticator = None

KEPT = Path(sys.argv[4])
MODULES = (
    ModuleID.credentials_and_registration, ModuleID.locations, ModuleID.sessions, ModuleID.cdrs, ModuleID.tariffs,
    ModuleID.tokens, ModuleID.commands,
)  # fmt: skip


class Tokens(Authenticator or object):
    """See above."""

    @classmethod
    async def get_valid_token_c(cls):
        return ["token-c"]

    @classmethod
    async def get_valid_token_a(cls):
        return ["token-a"]


class Objects(Crud):
    """Keeps objects in a file, so that they survive a kill."""

    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {"sent": {}, "own": {}, "times": []}

    @classmethod
    def _write(cls):
        KEPT.with_suffix(".new").write_text(json.dumps(cls.kept))
        KEPT.with_suffix(".new").replace(KEPT)

    @classmethod
    def _of(cls, module):
        return {**cls.kept["sent"].get(module.value, {}), **cls.kept["own"].get(module.value, {})}

    @classmethod
    async def get(cls, module, role, name, *args, **kwargs):
        return cls._of(module).get(str(name).lower())

    @classmethod
    async def list(cls, module, role, filters, *args, **kwargs):
        found = list(cls.kept["own"].get(module.value, {}).values())
        begin, end = filters["offset"], filters["offset"] + filters["limit"]
        return found[begin:end], len(found), end >= len(found)

    @classmethod
    async def create(cls, module, role, data, *args, **kwargs):
        if module == ModuleID.credentials_and_registration:
            cls.kept["partner"] = data["credentials"] | {"endpoints": data["endpoints"]["endpoints"]}
            cls._write()
            return {"token": "token-c", "url": f"https://{settings.OCPI_HOST}/ocpi/versions", "roles": [
                {"role": role, "business_details": {"name": "Foreign"}, "country_code": "NL", "party_id": "XTW"}
                for role in ("EMSP", "CPO")]}  # fmt: skip
        name = str(data.get("id") or data.get("uid")).lower()
        kept = cls.kept["sent"].setdefault(module.value, {})
        cls.kept["times"].append(f"{module.value} {name}")
        kept[name] = json.loads(json.dumps(data, default=str))
        cls._write()
        return data

    @classmethod
    async def update(cls, module, role, data, name, *args, **kwargs):
        return await cls.create(module, role, data | ({"id": str(name)} if module == ModuleID.commands else {}))

    @classmethod
    async def delete(cls, module, role, name, *args, **kwargs):
        cls.kept["sent"].get(module.value, {}).pop(str(name).lower(), None)
        cls._write()

    @classmethod
    async def do(cls, module, role, action, *args, data=None, **kwargs):
        if module == ModuleID.credentials_and_registration:
            return ""  # of py-ocpi: nobody is registered yet, and everybody may be
        token = cls._of(ModuleID.tokens)[str(data["token_uid"]).lower()]
        return {"allowed": "ALLOWED", "token": token, "location": data["location_reference"],
                "authorization_reference": "ref-1"}  # fmt: skip


def main(port, chain, key):
    """Serve."""
    roles = [RoleEnum.cpo, RoleEnum.emsp]
    more = (list(MODULES), Tokens) if Authenticator else (ObjectAdapter,)
    app = get_application([VersionNumber.v_2_2_1], roles, Objects, *more, http_push=True)

    @app.get("/kept")
    async def kept():
        return Objects.kept

    @app.post("/own/{module}")
    async def own(module: str, request: Request):
        body = await request.json()
        Objects.kept["own"].setdefault(module, {})[str(body.get("id") or body.get("uid")).lower()] = body
        return {}

    uvicorn.run(app, host="127.0.0.1", port=int(port), ssl_certfile=chain, ssl_keyfile=key, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:4])
