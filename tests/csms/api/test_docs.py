"""The documentation that a back end serves beside its API."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from csms.accounts.rules import Role
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend

Backends = Callable[..., AbstractAsyncContextManager[Backend]]


async def test_everyone_may_read_the_documentation_and_nothing_beside_it(backend: Backends, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not for you")
    site = tmp_path / "site"
    (site / "how-to").mkdir(parents=True)
    (site / "index.html").write_text("<h1>v2g-engine</h1>")
    (site / "how-to" / "verify.html").write_text("<h1>Verify</h1>")
    async with backend(api={"docs": site}) as memory, serving(memory) as ask:
        moved = await ask("GET", "/docs", role=None)
        assert (moved.status, moved.headers["location"]) == (308, "/docs/")
        for path, text in (("/docs/", "v2g-engine"), ("/docs/how-to/verify.html", "Verify")):
            page = await ask("GET", path, role=None)
            assert (page.status, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
            assert text in page.body.decode()
        for path in ("/docs/../secret", "/docs/%2e%2e/secret", "/docs//etc/passwd", "/docs/none.html"):
            found = await ask("GET", path, role=None)
            assert (found.status, b"not for you" in found.body, b"root:" in found.body) == (404, False, False), path
        assert (await ask("POST", "/docs/index.html", role=None)).status == 405
        assert (await ask("GET", "/stations", role=None)).status == 401


async def test_without_a_folder_there_is_no_documentation(ask: ApiClient) -> None:
    for path in ("/docs", "/docs/", "/docs/index.html"):
        assert (await ask("GET", path, role=Role.ADMIN)).status == 404
