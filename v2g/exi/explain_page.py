"""Style and script of the page that explains a stream; the page loads no external resources."""

from typing import Final

__all__ = ["SCRIPT", "STYLE"]

STYLE: Final = """
html { font-size: 14px; }
.sheet { max-width: none; }
.mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
.legend span { margin-right: 14px; white-space: nowrap; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 5px;
  vertical-align: -1px; }
main { display: grid; grid-template-columns: minmax(0, 384px) minmax(0, 1fr); gap: 14px; align-items: start; }
.card { padding: 0; }
h2 { margin: 0; padding: 10px 14px; color: var(--dim); }
#ruler { position: sticky; top: 12px; }
#octets { max-height: calc(100vh - 70px); overflow-y: auto; padding: 0 10px 10px; display: grid;
  grid-template-columns: 40px repeat(4, 1fr); gap: 5px 4px; font-size: 11px; }
#octets .at { color: var(--dim); text-align: right; padding-right: 4px; }
#octets .octet { text-align: center; }
#octets .hex { font-weight: 700; font-size: 12px; display: block; }
#octets .gap { grid-column: 2 / -1; text-align: center; border-radius: 3px; padding: 1px; }
#octets b { font-weight: 400; display: inline-block; padding: 0 0.5px; cursor: pointer; }
#octets b.first { border-top-left-radius: 4px; border-bottom-left-radius: 4px; }
#octets b.last { border-top-right-radius: 4px; border-bottom-right-radius: 4px; }
.header, .padding { color: var(--dim); background: var(--dull-bg); }
.event { color: var(--busy); background: var(--busy-bg); }
.length { color: var(--warn); background: var(--warn-bg); }
.value { color: var(--good); background: var(--good-bg); }
.unread { color: var(--bad); background: var(--bad-bg); }
.on { background: var(--ink) !important; color: var(--card) !important; }
#tree { overflow: hidden; }
#tree > div { padding-bottom: 8px; }
summary { display: grid; grid-template-columns: minmax(180px, 38%) minmax(0, 1fr) auto; gap: 10px;
  padding: 2px 14px; align-items: baseline; list-style: none; font-weight: 400; }
summary::-webkit-details-marker { display: none; }
summary:hover { background: var(--ground); }
.name { overflow-wrap: anywhere; text-indent: -13px; }
.name::before { content: "▸"; display: inline-block; width: 13px; text-indent: 0; font-size: 10px; color: var(--dim); }
details[open] > summary .name::before { content: "▾"; }
.structure > summary .name { font-weight: 600; }
.said { overflow-wrap: anywhere; }
.chips { text-align: right; }
.chip { display: inline-block; border-radius: 4px; padding: 0 4px; margin: 1px 0 1px 2px; font-size: 11px;
  cursor: pointer; }
.inside { margin: 2px 14px 8px; overflow-x: auto; }
table { font-size: 12px; table-layout: fixed; }
td, th { padding: 3px 8px; overflow-wrap: anywhere; }
th { color: var(--dim); }
th.at { width: 64px; }
th.bits { width: 250px; }
th.states { width: 22%; }
td .taken { font-weight: 700; color: var(--busy); }
.choices span { white-space: nowrap; }
@media (max-width: 900px) { main { grid-template-columns: 1fr; } #ruler { position: static; }
  #octets { max-height: 40vh; } }
@media (max-width: 600px) { summary { grid-template-columns: minmax(0, 1fr) auto; row-gap: 0; }
  .said { grid-row: 2; grid-column: 1 / -1; padding-left: 13px; } }
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
    if (!part.matches("tr, summary")) part.classList.toggle("on", on);
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
    const row = (parts.get(steps[0]) || []).find((part) => part.matches("summary"));
    if (row) {
      row.parentElement.open = true;
      row.scrollIntoView({block: "center"});
    }
  } else {
    const bits = (parts.get(steps[0]) || []).find((part) => octets.contains(part));
    if (bits) showIn(octets, bits);
  }
});
"""
