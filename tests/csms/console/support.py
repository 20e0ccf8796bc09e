"""The console without sockets: a person with a cookie jar, who reads pages and sends their forms."""

import json
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from html import unescape
from typing import Any
from urllib.parse import urlencode

from csms.accounts.rules import Role
from csms.console.application import application
from tests.csms.api.support import Answer, ApiClient, serving
from tests.csms.backend import Backend

HOST = "console.test"
PASSWORD = "seven wild geese fly"


class Person:
    """A person at a browser: cookies are kept, forms have the token of the page before."""

    def __init__(self, ask: ApiClient, name: str = "") -> None:
        self.ask = ask
        self.name = name
        self.cookies: dict[str, str] = {}
        self.csrf = ""

    async def get(self, path: str, **headers: str) -> Answer:
        """Open a page."""
        return await self._send("GET", path, None, headers)

    async def send(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Answer:
        """Send a form, with the token of the page before unless the fields have another."""
        headers = {"sec_fetch_site": "same-origin", **headers}
        return await self._send("POST", path, {"csrf": self.csrf, **(fields or {})}, headers)

    async def upload(self, path: str, files: Mapping[str, bytes]) -> Answer:
        """Send files, with the token of the page before."""
        parts = [b'name="csrf"\r\n\r\n' + self.csrf.encode()]
        parts += [f'name="files"; filename="{name}"\r\n\r\n'.encode() + data for name, data in files.items()]
        body = b"".join(b"--bound\r\nContent-Disposition: form-data; " + each + b"\r\n" for each in parts)
        headers = {"sec_fetch_site": "same-origin", "content_type": "multipart/form-data; boundary=bound"}
        return await self._send("POST", path, body + b"--bound--\r\n", headers)

    async def log_in(self, password: str = PASSWORD, code: str = "", path: str = "") -> Answer:
        """Log in, and open the first page to have a token."""
        fields = {"name": self.name, "password": password, "code": code, "next": path}
        answer = await self.send("/console/login", fields)
        if answer.status == 303:
            await self.get("/console/account")
        return answer

    async def _send(
        self, method: str, path: str, fields: dict[str, str] | bytes | None, headers: dict[str, str]
    ) -> Answer:
        headers = {"host": HOST, **headers}
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = fields if isinstance(fields, bytes) else None
        if isinstance(fields, dict):
            headers["content_type"] = "application/x-www-form-urlencoded"
            body = urlencode(fields).encode()
        answer = await self.ask(method, path, body, role=None, **headers)
        for cookie in answer.cookies:
            self._keep(cookie)
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', answer.body.decode(errors="replace"))
        self.csrf = found[1] if found else self.csrf
        return answer

    def _keep(self, cookie: str) -> None:
        pair, *attributes = cookie.split("; ")
        name, _, value = pair.partition("=")
        if "Max-Age=0" in attributes:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value.strip('"')


def text_of(answer: Answer) -> str:
    """Return what a page shows, without markup."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", answer.body.decode())))


def console(backend: Backend) -> AbstractAsyncContextManager[ApiClient]:
    """Put API and console in front of a back end."""
    return serving(backend, application)


async def employ(ask: ApiClient, name: str, role: Role, password: str = PASSWORD, *sites: str) -> Person:
    """Return a person with this role, of these sites or of all, who has chosen a password and logged in."""
    made = await ask("POST", "/access/users", {"name": name, "role": role.value, "sites": sites or None})
    assert made.status == 201, made.json
    person = Person(ask, name)
    first = await person.log_in(made.json["password"])
    assert first.status == 303, text_of(first)
    fields = {"password": made.json["password"], "new": password, "again": password}
    assert (await person.send("/console/account/password", fields)).status == 303
    await person.get("/console/account")
    return person


def charts(page: Answer) -> list[dict[str, Any]]:
    """The charts that a page has."""
    return [json.loads(unescape(each)) for each in re.findall(r'data-chart="([^"]+)"', page.body.decode())]


__all__ = ["HOST", "PASSWORD", "Person", "charts", "console", "employ", "text_of"]
