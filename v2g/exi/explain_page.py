"""Style and script of the page that explains a stream; the page loads no external resources."""

from typing import Final

__all__ = ["SCRIPT", "STYLE"]

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --line: #d9dee7; --back: #f6f7f9; --card: #ffffff;
  --event: #2f6fdb; --event-back: #dde9fd; --length: #a2570a; --length-back: #fdebd3; --value: #17734b;
  --value-back: #d8f3e4; --rest: #667085; --rest-back: #e7eaef; --bad: #b42318; --bad-back: #fee4e2; --mark: #ffd84d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #333b49; --back: #12161d;
  --card: #1a202a; --event: #8db8ff; --event-back: #1d3357; --length: #f4b26a; --length-back: #46300f;
  --value: #75d8a6; --value-back: #123b29; --rest: #98a2b3; --rest-back: #2a313d; --bad: #ff9c92;
  --bad-back: #55201b; --mark: #8a6d00; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--back); font: 14px/1.45 system-ui, sans-serif; }
code, .mono { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
header { padding: 18px 24px 12px; }
h1 { margin: 0 0 2px; font-size: 22px; }
h2 { margin: 0; padding: 10px 14px; font-size: 13px; color: var(--soft); font-weight: 600; }
header p { margin: 2px 0; color: var(--soft); }
.legend span { margin-right: 14px; white-space: nowrap; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 5px;
  vertical-align: -1px; }
.error { margin: 10px 0 0; padding: 8px 12px; border-radius: 6px; background: var(--bad-back); color: var(--bad); }
main { display: grid; grid-template-columns: minmax(0, 384px) minmax(0, 1fr); gap: 14px; padding: 0 24px 24px;
  align-items: start; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
#ruler { position: sticky; top: 12px; }
#octets { max-height: calc(100vh - 70px); overflow-y: auto; padding: 0 10px 10px; display: grid;
  grid-template-columns: 40px repeat(4, 1fr); gap: 5px 4px; font-size: 11px; }
#octets .at { color: var(--soft); text-align: right; padding-right: 4px; }
#octets .octet { text-align: center; }
#octets .hex { font-weight: 700; font-size: 12px; display: block; }
#octets .gap { grid-column: 2 / -1; text-align: center; border-radius: 3px; padding: 1px; }
#octets b { font-weight: 400; display: inline-block; padding: 0 0.5px; cursor: pointer; }
#octets b.first { border-top-left-radius: 4px; border-bottom-left-radius: 4px; }
#octets b.last { border-top-right-radius: 4px; border-bottom-right-radius: 4px; }
.header, .padding { color: var(--rest); background: var(--rest-back); }
.event { color: var(--event); background: var(--event-back); }
.length { color: var(--length); background: var(--length-back); }
.value { color: var(--value); background: var(--value-back); }
.unread { color: var(--bad); background: var(--bad-back); }
.on { background: var(--mark) !important; color: var(--ink) !important; }
#tree { overflow: hidden; }
#tree > div { padding-bottom: 8px; }
details > summary, .row { display: grid; grid-template-columns: minmax(180px, 38%) minmax(0, 1fr) auto; gap: 10px;
  padding: 2px 14px; align-items: baseline; list-style: none; }
details > summary { cursor: pointer; }
details > summary::-webkit-details-marker { display: none; }
details > summary:hover, .row:hover { background: var(--back); }
.name { overflow-wrap: anywhere; text-indent: -13px; }
.name::before { content: "▸"; display: inline-block; width: 13px; text-indent: 0; font-size: 10px; color: var(--soft); }
details[open] > summary .name::before { content: "▾"; }
.structure > summary .name { font-weight: 600; }
.said { overflow-wrap: anywhere; }
.said small, .type { color: var(--soft); font-size: 12px; }
.chips { text-align: right; }
.chip { display: inline-block; border-radius: 4px; padding: 0 4px; margin: 1px 0 1px 2px; font-size: 11px;
  cursor: pointer; }
.inside { margin: 2px 14px 8px; overflow-x: auto; }
table { border-collapse: collapse; font-size: 12px; width: 100%; }
td, th { text-align: left; padding: 3px 8px; border-top: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
table { table-layout: fixed; }
th.at { width: 64px; }
th.bits { width: 250px; }
th.state { width: 22%; }
td { overflow-wrap: anywhere; }
td .taken { font-weight: 700; color: var(--event); }
.choices { color: var(--soft); }
.choices span { white-space: nowrap; }
@media (max-width: 900px) { main { grid-template-columns: 1fr; } #ruler { position: static; }
  #octets { max-height: 40vh; } }
"""

SCRIPT: Final = """
"use strict";
const parts = new Map();
for (const part of document.querySelectorAll("[data-step]")) {
  for (const step of part.dataset.step.split(" ")) {
    if (!parts.has(step)) parts.set(step, []);
    parts.get(step).push(part);
  }
}
function mark(steps, on) {
  for (const step of steps) for (const part of parts.get(step) || []) {
    if (!part.matches("tr, summary, .row")) part.classList.toggle("on", on);
  }
}
function stepsOf(target) {
  const part = target.closest("[data-step]");
  return part ? part.dataset.step.split(" ") : [];
}
document.addEventListener("mouseover", (event) => mark(stepsOf(event.target), true));
document.addEventListener("mouseout", (event) => mark(stepsOf(event.target), false));
function showIn(box, part) {
  const inner = part.getBoundingClientRect(), outer = box.getBoundingClientRect();
  if (inner.top < outer.top || inner.bottom > outer.bottom) box.scrollTop += inner.top - outer.top - outer.height / 3;
}
document.addEventListener("click", (event) => {
  const steps = stepsOf(event.target);
  if (!steps.length) return;
  const octets = document.getElementById("octets");
  if (octets.contains(event.target)) {
    const row = (parts.get(steps[0]) || []).find((part) => part.matches("summary, .row"));
    if (row) {
      if (row.parentElement.matches("details")) row.parentElement.open = true;
      row.scrollIntoView({block: "center"});
    }
  } else {
    const bits = (parts.get(steps[0]) || []).find((part) => octets.contains(part));
    if (bits) showIn(octets, bits);
  }
});
"""
