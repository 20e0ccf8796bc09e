// Keeps pages current by one stream of changes a tab: texts change in their place, charts grow and are never made anew,
// new rows are announced. Without this script every page and form works, but stands still.
"use strict";

const OLD_MS = 20000, MOST_FRAMES = 200;
// -- changes: the page's parts are compared with what the server has drawn, and only what differs is touched

const lines = new Map();
const waiting = new Set(), early = new Map(); // parts under the hand; charts without a place yet
let fresh = 0, more = false;

const held = (node) => node.matches(":hover") || node.contains(document.activeElement) || node.querySelector("[open], :checked:not(option)");
const keyOf = (row) => row.dataset.row ?? row.querySelector("th")?.textContent ?? "";

function rows(old, now) {
  const known = new Map([...old.rows].map((row) => [keyOf(row), row]));
  for (const row of now.rows) {
    const same = known.get(keyOf(row));
    if (same) { same.classList.remove("gone"); morph(same, row); known.delete(keyOf(row)); } else fresh += 1;
  }
  if (now.rows.length < old.rows.length) for (const row of known.values()) row.classList.add("gone");
}

function morph(old, now) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== now.data) { old.data = now.data; if (old.parentElement.closest(".state")) flash(old.parentElement.closest(".state")); }
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE || old.matches("figure.chart, input, select, textarea")) return;
  for (const { name, value } of now.attributes) if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.tagName === "TBODY" && old.rows.length && now.rows.length) return rows(old, now);
  const [mine, theirs] = [[...old.childNodes], [...now.childNodes]];
  if (mine.length === theirs.length && mine.every((each, at) => each.nodeName === theirs[at].nodeName)) mine.forEach((each, at) => morph(each, theirs[at]));
  else if (mine.some((each) => each.nodeType === Node.ELEMENT_NODE) && held(old)) more = true;
  else {
    for (const figure of now.querySelectorAll("figure.chart")) { // a chart goes along as it is
      const chart = charts.get(figure.dataset.key);
      if (chart) figure.replaceWith(chart.figure);
    }
    old.replaceChildren(...now.childNodes);
  }
}

function flash(element) {
  element.classList.remove("fresh");
  void element.offsetWidth;
  element.classList.add("fresh");
}

function take({ parts, charts: points }) {
  fresh = 0;
  for (const [key, changed] of Object.entries(parts)) {
    const known = Array.isArray(changed) ? changed : lines.get(key);
    if (!Array.isArray(changed)) for (const [at, line] of Object.entries(changed)) known[at] = line;
    lines.set(key, known);
    waiting.add(key);
  }
  for (const [key, chart] of Object.entries(points)) {
    if (charts.has(key)) charts.get(key).take(chart);
    else early.set(key, grown(early.get(key), chart));
  }
  apply();
}

function apply() {
  for (const key of waiting) {
    const place = byId(key);
    more = false;
    if (place) {
      const now = make(place.tagName);
      now.innerHTML = lines.get(key).join("\n");
      for (const { name, value } of place.attributes) now.setAttribute(name, value);
      morph(place, now);
    } else more = lines.get(key).some((line) => line.trim());
    if (!more || !place) waiting.delete(key);
    if (more || fresh) news();
  }
  for (const figure of document.querySelectorAll("figure.chart:not(:has(.plot))")) {
    const chart = early.get(figure.dataset.key);
    if (chart) { figure.dataset.chart = JSON.stringify(chart); early.delete(figure.dataset.key); }
  }
  draw(document);
}

function news() {
  const place = byId("news"), text = fresh ? (fresh === 1 ? place.dataset.row : place.dataset.rows.replace("{n}", fresh)) : place.dataset.more;
  if (place.firstChild?.data === text) return;
  const button = make("button", { type: "button", class: "quiet" }, place.dataset.load);
  button.onclick = () => location.reload();
  place.replaceChildren(text, button);
}

// -- the stream: closed while the tab is hidden; what is old is said

let heard = Date.now(), source = null;

function lost(is) { byId("lost").hidden = !is; age(); }

function follow() {
  const where = new URL(location.href);
  where.searchParams.set("live", said.live);
  source = new EventSource(where);
  const alive = (event) => { heard = Date.now(); if (event.lastEventId) said.live = event.lastEventId; lost(false); };
  source.addEventListener("page", (event) => { alive(event); take(JSON.parse(event.data)); });
  source.addEventListener("gone", () => location.reload());
  source.addEventListener("beat", (event) => { alive(event); apply(); });
  source.onopen = alive;
  source.onerror = async () => {
    if (source.readyState !== EventSource.CLOSED) return lost(true);
    source = null; // it was answered, though not with a stream
    if (await ended()) return;
    lost(true);
    setTimeout(again, 5000);
  };
}

async function ended() { // a session that has ended leads to the login
  try { if ((await fetch(location.href, { redirect: "manual" })).type !== "opaqueredirect") return false; } catch { return false; }
  location.reload();
  return true;
}

async function again() {
  if (source || document.hidden || await ended()) return;
  if (!source) follow();
}

function age() {
  const chip = byId("live"), old = !byId("lost").hidden || Date.now() - heard > OLD_MS, text = chip.lastElementChild;
  text.dataset.live ??= text.textContent;
  chip.hidden = false;
  chip.classList.toggle("old", old);
  document.body.classList.toggle("stale", old);
  text.textContent = old ? text.dataset.old.replace("{s}", Math.round((Date.now() - heard) / 1000)) : text.dataset.live;
}

if (said.live) {
  follow();
  setInterval(age, 5000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source?.close(); source = null; } else if (!source) follow();
  });
  addEventListener("pagehide", () => source?.close());
}

// -- forms, frames, keys

const zones = document.querySelector(".zone select"), own = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zones) { // the viewer's own zone is known to the browser only
  if (![...zones.options].some((each) => each.text === own)) zones.add(new Option(own));
  zones.nextElementSibling.hidden = true;
  zones.addEventListener("change", () => zones.form.requestSubmit());
}

// What was entered in a form, but for secrets, is entered again on the page that says why it was refused.

const entries = (form) => [...form.querySelectorAll("input, select, textarea")].filter((each) => each.name && !["hidden", "password", "file"].includes(each.type) && !["off", "one-time-code"].includes(each.autocomplete));
const stateOf = (each) => (/checkbox|radio/.test(each.type) ? "checked" : "value");

document.addEventListener("submit", (event) => {
  const form = event.target, question = form.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
  else if (form.getAttribute("method") === "post") sessionStorage.entered = JSON.stringify([form.getAttribute("action"), entries(form).map((each) => [each.name, each[stateOf(each)]])]);
});

if (document.querySelector(".note.c[role=status]")) {
  const [action, entered] = JSON.parse(sessionStorage.entered ?? "[0]");
  const form = [...document.forms].find((each) => each.getAttribute("action") === action);
  if (form) entries(form).forEach((each, n) => { if (entered[n]?.[0] === each.name) each[stateOf(each)] = entered[n][1]; });
}
delete sessionStorage.entered;

function log(table) {
  const body = table.tBodies[0], frames = new EventSource(table.dataset.log);
  frames.addEventListener("ocpp_frame", (event) => {
    const frame = JSON.parse(event.data), row = body.insertRow(0);
    const cells = [new Date(frame.at_ms).toISOString().slice(11, 23), frame.data.direction, frame.data.text];
    for (const text of cells) row.insertCell().textContent = text.replace(/[\p{Cc}\p{Cf}]/gu, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
    row.cells[2].className = "value";
    while (body.rows.length > MOST_FRAMES) body.deleteRow(-1);
  });
}

function count() {
  for (const each of document.querySelectorAll("[data-count]")) each.textContent = document.querySelectorAll("[form=choose]:checked").length;
}

document.addEventListener("change", count);
document.addEventListener("reset", () => setTimeout(() => { count(); apply(); }));

// Keys, as the dialog lists them: a row is where the focus is.

const keys = byId("keys"), acting = keys?.querySelector("[type=checkbox]"), OF_ROW = "tbody tr, .alert, .outage";
let going = 0;

if (keys) {
  const shows = byId("shows-keys");
  acting.checked = localStorage.keys !== "off";
  acting.addEventListener("change", () => { localStorage.keys = acting.checked ? "on" : "off"; });
  shows.hidden = false;
  shows.addEventListener("click", () => keys.showModal());
}

function next(places, at, by) {
  return places[at < 0 ? (by > 0 ? 0 : places.length - 1) : at + by];
}

function press(key) {
  const jumps = Date.now() - going < 2000, row = document.activeElement.closest(OF_ROW), box = row?.querySelector("[form=choose][type=checkbox]");
  going = key === "g" ? Date.now() : 0;
  if (jumps) return document.querySelector(`.rail [data-key="${CSS.escape(key)}"]`)?.click();
  const by = { j: 1, k: -1, "]": 1, "[": -1 }[key], act = { a: "acknowledge", m: "mute", s: "assign" }[key];
  if (key === "j" || key === "k") {
    const rows = [...document.querySelectorAll(`main :is(${OF_ROW}):has(a, summary)`)];
    next(rows, rows.indexOf(row), by)?.querySelector("a, summary").focus();
  } else if (by) {
    const tabs = [...document.querySelectorAll(".tabs a")];
    next(tabs, tabs.findIndex((each) => each.hasAttribute("aria-current")), by)?.click();
  } else if (act) {
    if (box && !document.querySelector("[form=choose]:checked")) box.click();
    if (document.querySelector("[form=choose]:checked")) document.querySelector(`#choose [name=do][value=${act}]`)?.click();
  } else if (key === "x") box?.click();
  else if (key === "n") byId("news").querySelector("button")?.click();
  else if (key === "/") document.querySelector(".find input")?.focus();
  else if (key === "?") keys.showModal();
}

document.addEventListener("keydown", (event) => {
  if (!acting?.checked || keys.open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea") || event.key.length > 1) return;
  if (event.key === "/") event.preventDefault(); // else it is typed into the search
  press(event.key);
});

// -- pages of drivers, who have no stream: the marked part is asked for again

const asked = document.querySelector("[data-poll]");
if (asked) {
  setInterval(async () => {
    if (document.hidden) return;
    const page = await fetch(location.href).then((answer) => (answer.ok ? answer.text() : "")).catch(() => "");
    const now = new DOMParser().parseFromString(page, "text/html").querySelector("[data-poll]");
    if (now) { morph(asked, now); } else if (page) location.reload(); // what it follows is over
    byId("lost").hidden = Boolean(page);
  }, 10000);
}
for (const button of document.querySelectorAll("[data-print]")) { button.hidden = false; button.onclick = () => print(); }

draw(document);
for (const table of document.querySelectorAll("[data-log]")) log(table);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const { plots } of charts.values()) for (const each of plots) each.redraw(); });
