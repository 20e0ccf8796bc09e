"""Login by an OpenID provider: oidc-provider of npm, whose own pages ask the person."""

import contextlib
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urljoin, urlsplit

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from csms.accounts.config import OpenId, OpenIdRole
from csms.accounts.rules import Role
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient
from tests.csms.console.support import HOST, Person, console, text_of
from tests.csms.fixtures import Start
from tests.interop.npm import installed

VERSION: Final = "9.13.3"
REDIRECT: Final = f"https://{HOST}/console/login/provider/back"
SECRET: Final = "a secret: with % and : in it"


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the provider."""
    return installed(tmp_path_factory.mktemp("oidc-provider"), f"oidc-provider@{VERSION}") / "node_modules"


@pytest.fixture
def provider(modules: Path, pki: PkiTree) -> Iterator[str]:
    """Run a provider; yield its issuer."""
    certificate, key = pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key")
    script = Path(__file__).with_name("openid_provider.mjs")
    command = ["node", str(script), str(modules), str(certificate), str(key), REDIRECT, SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"https://localhost:{int(process.stdout.readline())}"
        finally:
            process.kill()


@pytest_asyncio.fixture
async def ask(backend: Start, provider: str, pki: PkiTree, tmp_path: Path) -> AsyncIterator[ApiClient]:
    """A back end whose people log in by the provider."""
    async with consoles(backend, configured(provider, pki, tmp_path)) as client:
        yield client


@contextlib.asynccontextmanager
async def consoles(backend: Start, openid: OpenId) -> AsyncIterator[ApiClient]:
    """Start a back end whose time is the provider's."""
    async with backend(api={"openid": openid}) as csms, console(csms) as client:
        csms.clock.now_ms = time.time_ns() // 1_000_000
        yield client


def configured(issuer: str, pki: PkiTree, tmp_path: Path) -> OpenId:
    """Return the configuration of a provider."""
    secret = tmp_path / "openid.secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    roles = (
        OpenIdRole(value="role-of-ada", role=Role.OPERATOR),
        OpenIdRole(value="role-of-bob", role=Role.VIEWER, sites=("nowhere",)),
        OpenIdRole(value="role-of-mallory", role=Role.ADMIN),
    )
    return OpenId(
        issuer=issuer,
        client_id="console",
        client_secret_file=secret,
        redirect_uri=REDIRECT,
        roles=roles,
        label="the depot",
        root=pki.path("csms/root.pem"),
    )


class Browser:
    """Follows the provider's pages until it sends the browser back."""

    def __init__(self, pki: PkiTree) -> None:
        self._tls = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))

    async def log_in(self, url: str, login: str) -> str:
        """Return the path and query to which the provider sends the browser at the end."""
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            method, fields = "GET", None
            for _ in range(20):
                async with session.request(method, url, data=fields, ssl=self._tls, allow_redirects=False) as answer:
                    page, where = await answer.text(), answer.headers.get("Location")
                    assert answer.status < 400, page
                method, fields = "GET", None
                if where is not None:
                    url = urljoin(url, where)
                    if url.startswith(REDIRECT):
                        return url.removeprefix(f"https://{HOST}")
                    continue
                (action,) = re.findall(r'<form[^>]* action="([^"]+)"', page)
                (prompt,) = re.findall(r'name="prompt" value="(\w+)"', page)
                method, url, fields = "POST", urljoin(url, action), {"prompt": prompt}
                if prompt == "login":
                    fields |= {"login": login, "password": "any"}
        raise AssertionError("the provider never came back")


async def begun(ask: ApiClient, path: str = "/console/login/provider") -> tuple[Person, str]:
    person = Person(ask)
    answer = await person.get(path)
    assert answer.status == 303, text_of(answer)
    return person, answer.headers["location"]


@pytest.mark.long
async def test_a_person_logs_in_by_a_provider_with_the_role_that_it_gives(
    ask: ApiClient, provider: str, pki: PkiTree
) -> None:
    stranger = Person(ask)
    assert "Log in by the depot" in text_of(await stranger.get("/console/login"))
    person, where = await begun(ask, "/console/login/provider?next=/console/stations")
    asked = dict(parse_qsl(urlsplit(where).query))
    assert where.startswith(f"{provider}/auth?")
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == REDIRECT
    back = await Browser(pki).log_in(where, "ada")
    answer = await person.get(back)
    assert answer.status == 200, text_of(answer)
    assert 'content="0;url=/console/stations"' in answer.body.decode()
    (session,) = (each for each in answer.cookies if each.startswith("__Host-v2g-session="))
    assert "SameSite=strict" in session
    assert (await person.get("/console/stations")).status == 200
    assert "ada@example.org" in text_of(await person.get("/console/account"))
    (made,) = (await ask("GET", "/access/users")).json
    assert (made["name"], made["role"], made["created_by"]) == ("ada@example.org", "operator", "OpenID provider")
    assert (await person.get("/console/users")).status == 403
    again = await person.get(back)
    assert again.status == 401, "a login works once"
    local = Person(ask, "ada@example.org")
    assert (await local.log_in("")).status == 401
    assert (await local.log_in("any")).status == 401, "there is no password here"


@pytest.mark.long
async def test_logins_of_others_and_without_a_role_are_refused(ask: ApiClient, pki: PkiTree) -> None:
    person, where = await begun(ask)
    back = await Browser(pki).log_in(where, "ada")
    other, _ = await begun(ask)
    for visitor in (Person(ask), other):
        answer = await visitor.get(back)
        assert "was not begun in this browser" in text_of(answer), "nobody is logged in as another (login CSRF)"
        assert "__Host-v2g-session" not in visitor.cookies
    forged = re.sub(r"code=[^&]+", "code=forged", back)
    assert "answers 400" in text_of(await person.get(forged))
    for login, said in (("eve", "has no role here"), ("bob", "no site nowhere")):
        visitor, where = await begun(ask)
        answer = await visitor.get(await Browser(pki).log_in(where, login))
        assert said in text_of(answer), login
        assert "__Host-v2g-session" not in visitor.cookies
    late, where = await begun(ask)
    back = await Browser(pki).log_in(where, "ada")
    ask.backend.clock.advance(601)
    assert "taken too long" in text_of(await late.get(back))
    assert (await ask("GET", "/access/users")).json == []


@pytest.mark.long
async def test_a_provider_cannot_take_over_an_account_that_has_a_password(ask: ApiClient, pki: PkiTree) -> None:
    await ask("POST", "/access/users", {"name": "mallory@example.org", "role": "viewer"})
    person, where = await begun(ask)
    answer = await person.get(await Browser(pki).log_in(where, "mallory"))
    assert "another account has your name" in text_of(answer)
    assert (await ask("GET", "/access/users/mallory@example.org")).json["role"] == "viewer"


@pytest.mark.long
async def test_tokens_of_another_login_client_key_or_time_are_refused(
    backend: Start, provider: str, pki: PkiTree, tmp_path: Path
) -> None:
    """The provider sends tokens that it has made, each by its own key, at the wrong time."""

    async def control(word: str) -> None:
        tls = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
        async with aiohttp.ClientSession() as session, session.get(f"{provider}/control/{word}", ssl=tls) as answer:
            assert answer.status == 200

    async def logged_in(client: ApiClient) -> str:
        person, where = await begun(client)
        answer = await person.get(await Browser(pki).log_in(where, "ada"))
        assert (answer.status == 200) == ("__Host-v2g-session" in person.cookies)
        return "" if answer.status == 200 else text_of(answer)

    openid = configured(provider, pki, tmp_path)
    async with consoles(backend, openid) as ask:
        assert await logged_in(ask) == ""
        await control("replay")
        assert "token is of another login" in await logged_in(ask), "nonce"
        await control("rotate")
        assert await logged_in(ask) == "", "its new keys are read"
        for word in ("rotate", "replay"):
            await control(word)
        assert "token is not valid" in await logged_in(ask), "by a key that it has no more"
        await control("")
        assert await logged_in(ask) == ""
        ask.backend.clock.advance(2 * 3600)
        assert "token is not valid" in (late := await logged_in(ask)), "an hour late"
        assert "expired" in late
        ask.backend.clock.advance(-3 * 3600)
        assert "token is not valid" in await logged_in(ask), "of the future"
    other = msgspec.structs.replace(openid, client_id="other")
    async with consoles(backend, other) as ask:
        assert await logged_in(ask) == ""
    await control("replay")
    async with consoles(backend, openid) as ask:
        assert "token is not valid" in (strange := await logged_in(ask)), "for another client"
        assert "aud" in strange


async def test_a_provider_that_does_not_answer_is_named(backend: Start, pki: PkiTree, tmp_path: Path) -> None:
    openid = configured("https://localhost:9", pki, tmp_path)
    async with backend(api={"openid": openid}) as csms, console(csms) as client:
        answer = await Person(client).get("/console/login/provider")
    assert answer.status == 401
    text = text_of(answer)
    assert "the OpenID provider does not answer" in text
    assert "Log in by the depot" in text, "to try again"
