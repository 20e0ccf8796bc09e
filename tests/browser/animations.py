"""Animated pictures of the README, light and dark, made from runs of the demo: `make animations`.

The session is the chart of its receipt, drawn anew along the run's events; the console is what Chromium shows of the
demo's world.
"""

import asyncio
import base64
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.docs.documents import ROOT
from v2g.look import DARK, LIGHT
from v2g_cli.demo.processes import Event
from v2g_cli.demo.story import MILESTONES, describe

FOLDER: Final = ROOT / "docs" / "pictures"
LOOKS: Final = {"light": LIGHT, "dark": DARK}
SHOWN_S: Final = 2.0
"""For how long each event, and each view of the console, is shown."""
PATIENCE_MS: Final = 600_000
_BETWEEN_MS, _SETTLED_MS = 18_000, 3_000
"""Between views of a site: an hour in its world; and until a page has drawn its charts."""
VIEW: Final = {"width": 1280, "height": 800}
_DEMO: Final = (sys.executable, "-m", "v2g_cli", "demo", "--folder")
_MORE: Final = {("csms", "ocpp", "grid_signal_received")}
_LEFT, _RIGHT, _HEAD, _END = 70, 550, 40, 3
"""Edges of the chart's time axis, height of the line above it, and how often as long the last event is shown."""


def _in_turn(count: int, last: int = 1) -> tuple[float, str]:
    """Return for how long a picture of several in turn runs (s), and rules that show each of class `turn`."""
    length = SHOWN_S * (count - 1 + last)
    part = 100 * SHOWN_S / length
    times = "".join(f".t{n}{{animation-delay:{n * SHOWN_S - length}s}}" for n in range(count))
    return length, (
        f"@keyframes turn{{0%{{opacity:1}}{part:.3f}%{{opacity:0}}}}"
        f"@keyframes last{{0%{{opacity:1}}{last * part:.3f}%{{opacity:0}}}}"
        f".turn{{opacity:0;animation:turn {length}s step-end infinite}}.turn.end{{animation-name:last}}{times}"
        "@media (prefers-reduced-motion:reduce){.turn,.past{animation:none}.turn.end{opacity:1}}"
    )


def _class(place: int, count: int) -> str:
    return f"turn t{place}{' end' if place == count - 1 else ''}"


def _line(event: Event) -> str:
    return escape(f"{event.process} · {describe(event)}")


def events(run: Path) -> Iterator[Event]:
    """Yield the events of the short story of a run, in order."""
    lines = chain.from_iterable(file.read_bytes().splitlines() for file in run.glob("*.events.jsonl"))
    for each in sorted((msgspec.json.decode(line, type=Event) for line in lines), key=lambda each: each.t):
        if (each.process, each.stage, each.name) in MILESTONES | _MORE:
            yield each


def session(run: Path, look: str) -> str:
    """Return the chart of the receipt of a run's session (SVG), which grows from event to event."""
    [bundle] = (run / "secc" / "settlements").iterdir()
    command = [sys.executable, "-m", "v2g_cli", "settle", "receipt", str(bundle), "--max-reaction", "3600"]
    page = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    chart = re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0]
    of: Any = msgspec.json.decode((bundle / "settlement.json").read_bytes())
    begin, end = of["begin"]["utc_ms"], of["end"]["utc_ms"]
    shown, colours = list(events(run)), LOOKS[look]
    length, style = _in_turn(len(shown), _END)
    places = [(_RIGHT - _LEFT) * min(1.0, max(0.0, (each.utc_ms - begin) / (end - begin))) for each in shown]
    frames = "".join(
        f"{100 * SHOWN_S * n / length:.3f}%{{transform:translateX({x - (_RIGHT - _LEFT):.1f}px)}}"
        for n, x in enumerate(places)
    )
    style += (
        f"@keyframes past{{{frames}100%{{transform:none}}}}.past{{animation:past {length}s linear infinite}}"
        f"polyline{{clip-path:url(#past)}}svg.stairs{{background:{colours['card']}}}"
        f"svg.stairs .turn{{font-size:16px;fill:{colours['ink']}}}"
    )
    texts = "".join(
        f'<text class="{_class(n, len(shown))}" x="{_LEFT}" y="-14">{_line(each)}</text>'
        for n, each in enumerate(shown)
    )
    past = f'<rect class="past" x="{_LEFT}" y="0" width="{_RIGHT - _LEFT}" height="580"/>'
    now = f'<line class="past axis" x1="{_RIGHT}" x2="{_RIGHT}" y1="20" y2="560"/>'
    drawn = f'<style>{style}</style><clipPath id="past">{past}</clipPath>{now}{texts}</svg>\n'
    chart = chart.replace("screen and (prefers-color-scheme:dark)", "all" if look == "dark" else "not all")
    chart = chart.replace('viewBox="0 0 560 580"', f'viewBox="0 {-_HEAD} 560 {580 + _HEAD}"')
    return chart.replace('height="580"', f'height="{580 + _HEAD}"', 1).replace("</svg>", drawn)


def views(pictures: Sequence[bytes]) -> str:
    """Return pictures (WebP) in turn, as SVG."""
    width, height = VIEW.values()
    parts = "".join(
        f'<image class="{_class(n, len(pictures))}" width="{width}" height="{height}" '
        f'href="data:image/webp;base64,{base64.b64encode(each).decode()}"/>\n'
        for n, each in enumerate(pictures)
    )
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="The console"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_in_turn(len(pictures))[1]}</style>\n{parts}</svg>\n'
    )


async def _taken(page: Page) -> dict[str, bytes]:
    devtools, taken = await page.context.new_cdp_session(page), {}
    for look in LOOKS:
        await page.emulate_media(color_scheme=look, reduced_motion="reduce")  # type: ignore[arg-type]  # one of these
        shot = await devtools.send("Page.captureScreenshot", {"format": "webp", "quality": 40})
        taken[look] = base64.b64decode(shot["data"])
    return taken


async def _visit(browser: Browser, url: str, password: str) -> list[dict[str, bytes]]:
    """Return what an operator sees of the world: a site that fills, alerts, set-points, sessions, one of them."""
    context = await browser.new_context(ignore_https_errors=True, viewport=VIEW)  # type: ignore[arg-type]  # a size
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    await page.goto(f"{url}console")
    await page.get_by_label("Name").fill("admin")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in", exact=True).click()
    await expect(page.get_by_role("heading", name="Today")).to_be_visible()
    await page.goto(f"{url}console/sites/Lindenhof")
    taken = []
    for _ in range(3):
        await page.wait_for_timeout(_BETWEEN_MS)
        taken.append(await _taken(page))
    for path in ("alerts", "v2g", "sessions"):
        await page.goto(f"{url}console/{path}")
        if path == "alerts":
            await expect(page.get_by_text("lost their connection").first).to_be_visible(timeout=PATIENCE_MS)
        await page.wait_for_timeout(_SETTLED_MS)
        taken.append(await _taken(page))
    await page.locator("[data-row]").last.get_by_role("link").first.click()
    await page.wait_for_timeout(_SETTLED_MS)
    return [*taken, await _taken(page)]


async def console(url: str, password: str) -> None:
    """Write the picture of the console at an address."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        taken = await _visit(browser, url, password)
        await browser.close()
    for look in LOOKS:
        (FOLDER / f"console-{look}.svg").write_text(views([each[look] for each in taken]))


def main() -> None:
    """Run the demo, and its world; write both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        subprocess.run([*_DEMO, str(run)], check=True)
        for look in LOOKS:
            (FOLDER / f"session-{look}.svg").write_text(session(run, look))
        command = [*_DEMO, str(Path(folder) / "world"), "--world", "--open-for", "20"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as world:
            try:
                assert world.stdout is not None
                text = ""
                while "the password" not in text:
                    text += world.stdout.readline() or sys.exit("the demo's world has ended")
                [(url, password)] = re.findall(r"(https://localhost:\d+/).*?the password (\S+)", text, re.DOTALL)
                asyncio.run(console(url, password))
            finally:
                world.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
