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
