"""A person at a browser: pages are opened, judged by axe-core, and kept as pictures where these are wanted."""

import base64
import os
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import ConsoleMessage, Error, Page, Response, expect

from tests.browser.tutorial import SHOWN

PASSWORD = "seven wild geese fly"
PICTURES = os.environ.get("V2G_PICTURES", "")
"""Folder for pictures of each page, in three widths, light and dark."""

TUTORIAL = os.environ.get("V2G_TUTORIAL_PICTURES", "")
"""Folder for the pictures of the tutorial (WebP)."""


MOST_STOPS: Final = 600
"""Of the tab key on a page."""

_STOP: Final = """() => {
  const at = document.activeElement;
  if (!at || at === document.body) return null;
  const box = at.getBoundingClientRect();
  const all = [...document.querySelectorAll("*")];
  const shown = box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight;
  return { number: all.indexOf(at), shown, parts: at.type === "date", html: at.outerHTML.slice(0, 160) };
}"""

_STOPS: Final = """() => {
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary")];
  const reached = (each) => !each.disabled && !["hidden", "radio"].includes(each.type) && each.tabIndex >= 0;
  return all.filter((each) => reached(each) && each.checkVisibility({visibilityProperty: true})).length;
}"""

WAIT_MS = 120_000
expect.set_options(timeout=WAIT_MS)


class View(NamedTuple):
    """How somebody looks at a page: language, scheme, and width of the window (px)."""

    language: Literal["en", "de"]
    scheme: Literal["light", "dark"]
    width: int

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}-{self.language}"


_VIEWS: Final = (View("en", "light", 1440), View("de", "dark", 400), View("de", "light", 400), View("en", "dark", 1440))
VIEWS: Final = _VIEWS if PICTURES or "V2G_EXAMPLES" in os.environ else _VIEWS[:2]
"""Each language, scheme and width; for pictures and in `make verify` each language in both schemes."""


def _is_flaw(said: ConsoleMessage) -> bool:
    """Return whether a line of the browser's console counts. Chromium ends its requests when an interface of this
    machine comes or goes, as those between network namespaces of other tests do."""
    return said.type == "error" and said.text != "Failed to load resource: net::ERR_NETWORK_CHANGED"


class Tab:
    """A tab of the browser; whatever its console or the policy complains of fails the test."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.complaints: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda said: self.complaints.append(said.text) if _is_flaw(said) else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def open(self, path: str) -> Response | None:
        """Load a page; again where Chromium has ended the request, as it says, for a change of the network."""
        while True:
            try:
                return await self.page.goto(f"{self.url}{path}")
            except Error as error:
                if "ERR_NETWORK_CHANGED" not in error.message:
                    raise

    async def check(self, name: str) -> None:
        """Let axe-core look at the page, and keep pictures if they are wanted."""
        found: Any = await Axe().run(self.page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        if TUTORIAL and name in SHOWN:
            await self.page.emulate_media(color_scheme="light")
            await self.keep(Path(TUTORIAL) / f"console-{name}.webp")
        if PICTURES:
            folder = Path(PICTURES)
            folder.mkdir(parents=True, exist_ok=True)
            for scheme in ("light", "dark"):
                for width in (400, 1440, 2560):
                    await self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of these
                    await self.page.set_viewport_size({"width": width, "height": 900})
                    await self.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
            await self.page.set_viewport_size({"width": 1280, "height": 900})

    async def look(self, view: View) -> None:
        """Look at all pages from now on in this way."""
        await self.page.set_extra_http_headers({"Accept-Language": view.language})
        await self.page.emulate_media(color_scheme=view.scheme)
        await self.page.set_viewport_size({"width": view.width, "height": 900})

    async def check_views(self, name: str) -> None:
        """Reload the page in every view, and judge it there."""
        faults = []
        for view in VIEWS:
            await self.look(view)
            await self.page.reload()
            assert await self.page.locator("html").get_attribute("lang") == view.language
            faults += [f"{name}, {view}: {each}" for each in await self.faults(f"{name}-{view}")]
        assert faults == []
        await self.look(View("en", "light", 1280))
        await self.page.reload()

    async def faults(self, name: str, *, keyboard: bool = True) -> list[str]:
        """Return what axe-core finds, how far the page scrolls sideways, and what the tab key misses.

        A picture is kept if it is wanted.
        """
        judged: Any = await Axe().run(self.page)
        faults = [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in judged.response["violations"]]
        wide: int = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        faults += [f"is {wide} px too wide"] if wide > 0 else []
        if PICTURES:
            await self.page.evaluate("scrollTo(0, 0)")
            await self.page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)
        return faults + (await self._tabbed() if keyboard else [])

    async def _tabbed(self) -> list[str]:
        """Tab through the page: each stop is seen, none holds the focus, and the last leads out."""
        await self.page.evaluate("document.activeElement.blur()")
        stops: int = await self.page.evaluate(_STOPS)
        seen: set[int] = set()
        in_parts = -1  # a date has three stops
        for _ in range(MOST_STOPS):
            await self.page.keyboard.press("Tab")
            stop: Any = await self.page.evaluate(_STOP)
            if stop is None or (stop["number"] in seen and stop["number"] != in_parts):
                break
            in_parts = stop["number"] if stop["parts"] else -1
            if not stop["shown"]:
                return [f"{stop['html']} has the focus and is not seen"]
            seen.add(stop["number"])
        else:
            return ["the tab key does not lead out"]
        return [] if len(seen) >= stops else [f"the tab key stops {len(seen)} times at {stops} fields and links"]

    async def keep(self, file: Path) -> None:
        """Keep a small picture of what is seen without scrolling."""
        await self.page.set_viewport_size({"width": 1280, "height": 900})
        devtools = await self.page.context.new_cdp_session(self.page)
        shot = await devtools.send("Page.captureScreenshot", {"format": "webp", "quality": 60})
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(shot["data"]))


async def log_in(tab: Tab, password: str, code: str = "") -> None:
    await tab.page.get_by_label("Name").fill("ada")
    await tab.page.get_by_label("Password").fill(password)
    await tab.page.get_by_label("Code").fill(code)
    await tab.page.get_by_role("button", name="Log in", exact=True).click()


async def employed(tab: Tab) -> None:
    """Log in for the first time."""
    await log_in(tab, "first password")
    await tab.page.get_by_label("Present password").fill("first password")
    await tab.page.get_by_label("New password", exact=False).nth(0).fill(PASSWORD)
    await tab.page.get_by_label("New password again").fill(PASSWORD)
    await tab.page.get_by_role("button", name="Change").click()
    await expect(tab.page.get_by_text("Your password has changed.")).to_be_visible()
