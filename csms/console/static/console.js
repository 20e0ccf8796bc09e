// Keeps pages current: after an event of the back end, and every few seconds, the page is fetched again and its parts
// marked data-live are replaced. Without this script every page and form works, but stands still.
"use strict";

const KINDS = [
  "station_connected", "station_disconnected", "station_decided", "unknown_station", "connection_fault",
  "connector_status", "transaction_started", "transaction_updated", "transaction_ended", "transaction_closed",
  "meter_values", "cost_updated", "grid_signal", "journal_quarantined", "journal_released", "journal_rejected",
  "settled", "feed_lost",
];
const LEAST_MS = 1000, POLL_MS = 10000;

let fetched = 0, waiting = null, running = false;

function lost(is) {
  document.getElementById("lost").hidden = !is;
}

async function refresh() {
  if (running || document.hidden || !document.querySelector("[data-live]")) return;
  running = true;
  fetched = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { "X-Live": "1" } });
    if (answer.redirected || answer.status === 401 || answer.status === 403) return location.reload();
    if (!answer.ok) return lost(answer.status >= 500);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    lost(false);
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = page.getElementById(old.id);
      if (!now || now.innerHTML === old.dataset.was || old.contains(document.activeElement)) continue;
      old.dataset.was = now.innerHTML;
      old.replaceChildren(...now.childNodes);
      draw(old);
    }
  } catch {
    lost(true);
  } finally {
    running = false;
  }
}

function changed() {
  if (waiting === null) {
    waiting = setTimeout(() => { waiting = null; refresh(); }, Math.max(0, fetched + LEAST_MS - Date.now()));
  }
}

function follow(where) {
  const source = new EventSource(`${where}?kinds=${KINDS.join(",")}`);
  for (const kind of KINDS) source.addEventListener(kind, changed);
  source.onopen = changed;
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow(where), 5000);
    changed(); // says whether the back end answers at all
  };
}

function draw(within) {
  for (const place of within.querySelectorAll("[data-chart]")) {
    const chart = JSON.parse(place.dataset.chart), style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--dim"), line = style.getPropertyValue("--line");
    const colours = ["--import", "--ink", "--export", "--crit", "--grid", "--dim"].map((name) => style.getPropertyValue(name));
    const units = [...new Set(chart.lines.map((each) => each.unit))];
    const plot = new uPlot({
      width: place.clientWidth || 600, height: 300,
      scales: Object.fromEntries(units.map((unit) => [unit, { auto: true }])),
      axes: [
        { stroke: ink, values: chart.times.at(-1) - chart.times[0] > 129600 ? "{MM}-{DD}" : "{HH}:{mm}", grid: { stroke: line, width: 1 } },
        ...units.map((unit, at) => ({ scale: unit, label: unit, side: at ? 1 : 3, stroke: ink, size: 62, grid: { show: !at, stroke: line, width: 1 } })),
      ],
      series: [
        { value: "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}" },
        ...chart.lines.map((each, at) => ({ label: `${each.label}, ${each.unit}`, scale: each.unit, stroke: colours[at % colours.length], width: 2, spanGaps: !each.steps, dash: each.unit === units[0] ? [] : [7, 5], ...(each.steps ? { paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } } : {}) })),
      ],
    }, [chart.times, ...chart.lines.map((each) => each.values)], place);
    plot.root.setAttribute("aria-hidden", "true"); // the same values are in a table
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: 300 })).observe(place);
  }
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
const MOST_FRAMES = 200;

function log(table) {
  const body = table.tBodies[0], source = new EventSource(table.dataset.log);
  source.addEventListener("ocpp_frame", (event) => {
    const said = JSON.parse(event.data), row = body.insertRow(0);
    const cells = [new Date(said.at_ms).toISOString().slice(11, 23), said.data.direction, said.data.text];
    for (const text of cells) row.insertCell().textContent = text.replace(/[\p{Cc}\p{Cf}]/gu, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
    row.cells[2].className = "value";
    while (body.rows.length > MOST_FRAMES) body.deleteRow(-1);
  });
  source.onerror = () => lost(source.readyState !== EventSource.OPEN);
  source.onopen = () => lost(false);
}

draw(document);
for (const table of document.querySelectorAll("[data-log]")) log(table);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const plot of document.querySelectorAll(".uplot")) plot.remove();
  draw(document);
});
if (document.body.dataset.events) follow(document.body.dataset.events);
if (document.body.classList.contains("known")) {
  setInterval(refresh, POLL_MS);
  document.addEventListener("visibilitychange", refresh);
}
