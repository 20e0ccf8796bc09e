"""A person at a browser: pages are opened, judged by axe-core, and kept as pictures where these are wanted."""

import base64
import os
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser.tutorial import SHOWN

PASSWORD = "seven wild geese fly"
PICTURES = os.environ.get("V2G_PICTURES", "")
"""Folder for pictures of each page, in three widths, light and dark."""

TUTORIAL = os.environ.get("V2G_TUTORIAL_PICTURES", "")
"""Folder for the pictures of the tutorial (WebP)."""

WAIT_MS = 20_000
expect.set_options(timeout=WAIT_MS)


class Tab:
    """A tab of the browser; whatever its console or the policy complains of fails the test."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.complaints: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def open(self, path: str) -> None:
        await self.page.goto(f"{self.url}{path}")

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
