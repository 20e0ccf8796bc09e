// Charts on uPlot: one plot for each unit, below each other, with one crosshair; the legend is the read-out. A chart is
// made once and grows; nothing of what the reader does with it is lost.
"use strict";

const root = document.documentElement, said = document.body.dataset;
const hue = (name) => getComputedStyle(root).getPropertyValue(`--${name}`);
const byId = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const charts = new Map(), INKS = ["ink", "import", "export", "grid", "crit", "dim"];
const LOOKS = { in: ["import", []], out: ["export", [3, 2]], limit: ["ink", [7, 4]], plan: ["grid", [1.5, 3.5]], old: ["base", []], base: ["base", [2, 2]] };
const DAY = "{DD} {MMM}", dayOf = (date) => date.toLocaleString(root.lang === "en" ? "en-GB" : root.lang, { day: "2-digit", month: "short" });
const stamps = (day) => [[86400, DAY], [60, "{HH}:{mm}", null, null, day], [1, "{HH}:{mm}:{ss}", null, null, day]].map((row) => [...row, ...Array(8 - row.length).fill(null), 0]); // `day`: in the place of the hour where a day begins
const figure = (value, digits) => value.toLocaleString(root.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits ?? 4, useGrouping: false, signDisplay: "negative" }).replace("-", "−");
const decimals = (value, unit) => figure(value, unit === "%" || !unit ? 0 : unit.includes("/") ? 4 : 1);

function soft(colour, alpha) {
  return `${colour.trim()}${Math.round(alpha * 255).toString(16).padStart(2, "0")}`;
}

function twoWay(alpha) { // blue above zero, green below
  return (plot) => {
    const { top, height } = plot.bbox, ink = plot.ctx.createLinearGradient(0, top, 0, top + height);
    const zero = Math.max(0, Math.min(1, (plot.valToPos(0, "y", true) - top) / height)) || 0;
    for (const [at, name] of [[0, "import"], [zero, "import"], [zero, "export"], [1, "export"]]) ink.addColorStop(at, soft(hue(name), alpha));
    return ink;
  };
}

function grown(before, data) {
  if (!data.begins || !before) return data;
  const joined = (one, other) => [...one.slice(0, data.begins), ...other];
  return { ...data, begins: 0, times: joined(before.times, data.times), lines: data.lines.map((line, at) => ({ ...line, values: joined(before.lines[at].values, line.values) })) };
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.plots = [];
    this.take(JSON.parse(figure.dataset.chart));
    delete figure.dataset.chart;
  }

  get labels() { return JSON.stringify(this.data.lines.map((each) => [each.label, each.unit])); }

  take(data) {
    data = grown(this.data, data);
    const before = this.data && this.labels;
    this.data = data;
    if (before !== this.labels) this.build();
    else for (const plot of this.plots) this.fill(plot);
    this.read(null);
    if (this.table?.open) this.tabulate();
  }

  fill(plot) {
    const still = plot.zoomed || this.figure.matches(":hover");
    plot.setData([this.data.times, ...plot.lines.map((at) => this.data.lines[at].values)], !still);
    if (still) plot.redraw();
    else plot.setScale("x", this.span());
  }

  build() {
    const units = [...new Set(this.data.lines.map((each) => each.unit))];
    for (const each of this.plots) each.destroy();
    for (const each of this.figure.querySelectorAll(":scope > :not(figcaption)")) each.remove();
    this.clock = this.figure.querySelector(".at") ?? this.figure.querySelector("figcaption").appendChild(make("span", { class: "at" }));
    this.keys = this.figure.appendChild(make("ul", { class: "keys" }));
    this.outs = this.data.lines.map((line, at) => {
      const out = make("output"), [ink, dash] = this.look(line, at);
      const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      swatch.setAttribute("class", "sw");
      swatch.setAttribute("aria-hidden", "true");
      swatch.innerHTML = `<line x2="20" y1="6" y2="6" stroke="var(--${ink})" stroke-dasharray="${dash.join(" ")}"/>`;
      this.keys.append(make("li", {}, swatch, line.label, out, make("small", {}, line.unit)));
      return out;
    });
    this.plots = units.map((unit, nth) => this.plot(unit, nth === units.length - 1, units.length > 1 && nth ? 110 : 220));
    this.table = this.figure.appendChild(make("details", {}, make("summary", {}, said.table)));
    this.table.addEventListener("toggle", () => this.tabulate());
  }

  look(line, at) { 
    const nth = this.data.lines.slice(0, at).filter((each) => !each.look).length;
    return LOOKS[line.look] ?? [line.look === "net" ? "import" : INKS[nth % INKS.length], []];
  }

  plot(unit, last, height) {
    const lines = this.data.lines.map((_, at) => at).filter((at) => this.data.lines[at].unit === unit);
    const place = this.figure.appendChild(make("div", { class: "plot", tabindex: "0", role: "img", "aria-label": `${this.data.title}: ${lines.map((at) => this.data.lines[at].label).join(", ")}` }));
    const axis = { stroke: () => hue("dim"), font: "11px system-ui", grid: { stroke: () => hue("line"), width: 1 }, ticks: { show: false } };
    const series = lines.map((at) => {
      const line = this.data.lines[at], [ink, dash] = this.look(line, at), net = line.look === "net";
      return {
        stroke: net ? twoWay(1) : () => hue(ink), fill: net ? twoWay(0.16) : undefined, fillTo: 0, width: 1.75, dash, spanGaps: !line.steps, points: { show: false },
        ...(line.steps ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}),
      };
    });
    const plot = new uPlot({
      width: place.clientWidth || 600, height: last ? height + 28 : height, padding: [8, 20, 0, 0], legend: { show: false },
      fmtDate: (form) => (form === DAY ? dayOf : uPlot.fmtDate(form)),
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), said.zone || "UTC"),
      scales: { y: { range: (_, low, high) => uPlot.rangeNum(Math.min(low ?? 0, unit === "kW" ? 0 : low ?? 0), high ?? 1, 0.1, true) } },
      axes: [{ ...axis, show: last, size: 28, values: stamps(this.long() ? DAY : null) }, { ...axis, size: 48, label: undefined, values: (_, ticks) => ticks.map((each) => figure(+each.toFixed(4))) }],
      cursor: { sync: { key: this.data.title }, drag: { x: true, y: false, setScale: true }, points: { size: 6 } },
      series: [{}, ...series],
      hooks: {
        setCursor: [(self) => this.read(self.cursor.idx)],
        setSelect: [(self) => { if (self.select.width) for (const each of this.plots) each.zoomed = true; }],
        draw: [(self) => this.hatch(self, unit)],
      },
    }, [this.data.times, ...lines.map((at) => this.data.lines[at].values)], place);
    plot.lines = lines;
    plot.setScale("x", this.span());
    plot.over.addEventListener("dblclick", () => this.whole());
    place.addEventListener("keydown", (event) => this.key(event, plot));
    place.addEventListener("blur", () => plot.setCursor({ left: -10, top: -10 }));
    new ResizeObserver(() => { if (place.clientWidth) plot.setSize({ width: place.clientWidth, height: plot.height }); }).observe(place);
    return plot;
  }

  long() { return this.data.times.at(-1) - this.data.times[0] > 129600; }

  span() { // uPlot has years around a single time
    const { 0: low, [this.data.times.length - 1]: high } = this.data.times;
    return low < high ? { min: low, max: high } : { min: low - 300, max: high + 300 };
  }

  whole() {
    for (const each of this.plots) { each.zoomed = false; this.fill(each); each.setScale("x", this.span()); }
  }

  key(event, plot) {
    const times = this.data.times, at = plot.cursor.idx ?? times.length - 1, x = plot.scales.x;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -times.length, End: times.length }[event.key];
    const zoom = { "+": 0.5, "-": 2 }[event.key];
    if (step) {
      const time = times[Math.max(0, Math.min(times.length - 1, at + step))];
      plot.setCursor({ left: plot.valToPos(time, "x"), top: plot.over.clientHeight / 2 });
    } else if (zoom) {
      const wide = ((x.max - x.min) * zoom) / 2, middle = times[at];
      for (const each of this.plots) { each.zoomed = true; each.setScale("x", { min: middle - wide, max: middle + wide }); }
    } else if (event.key === "0") this.whole();
    else if (event.key === "Escape") plot.setCursor({ left: -10, top: -10 });
    else return;
    event.preventDefault();
  }

  clockAt(at) {
    const form = { timeZone: said.zone || "UTC", hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit", ...(this.long() ? { day: "2-digit", month: "short" } : {}) };
    return new Date(at * 1000).toLocaleString(root.lang, form);
  }

  value(line, at) { // the newest one before, too: not all lines have a value at each time
    for (let each = at; each >= Math.max(0, at - 10); each--) if (line.values[each] !== null) return decimals(line.values[each], line.unit);
    return "–";
  }

  read(at) {
    if (!this.clock || !this.data.times.length) return;
    const now = at ?? this.data.now ?? Math.max(0, this.data.lines[0].values.findLastIndex((each) => each !== null));
    this.clock.textContent = `${(at ?? this.figure.dataset.past ?? null) === null ? `${said.now}, ` : ""}${this.clockAt(this.data.times[now])}`;
    this.data.lines.forEach((line, each) => { this.outs[each].textContent = this.value(line, now); });
  }

  hatch(plot, unit) { // beyond a limit, on its side of zero
    const { ctx, bbox } = plot;
    ctx.save();
    if (plot.scales.y.min < 0 && plot.scales.y.max > 0) {
      const zero = Math.round(plot.valToPos(0, "y", true));
      ctx.strokeStyle = hue("edge");
      ctx.beginPath(); ctx.moveTo(bbox.left, zero); ctx.lineTo(bbox.left + bbox.width, zero); ctx.stroke();
    }
    ctx.fillStyle = hue("ink");
    ctx.font = `600 ${11 * devicePixelRatio}px system-ui`;
    ctx.textAlign = "left";
    ctx.fillText(unit, bbox.left + 8 * devicePixelRatio, bbox.top + 14 * devicePixelRatio);
    for (const side of [1, -1]) {
      const limits = plot.lines.filter((at) => this.data.lines[at].look === "limit").map((at) => this.data.lines[at].values);
      const bound = this.data.times.map((_, at) => limits.map((each) => each[at]).filter((each) => each !== null && each * side > 0).reduce((least, each) => (least === null || each * side < least * side ? each : least), null));
      const edge = side > 0 ? bbox.top : bbox.top + bbox.height;
      ctx.beginPath();
      bound.forEach((value, at) => {
        if (value === null) return;
        const left = plot.valToPos(this.data.times[at], "x", true), right = plot.valToPos(this.data.times[at + 1] ?? this.data.times[at], "x", true), y = plot.valToPos(value, "y", true);
        ctx.rect(left, edge, right - left, y - edge);
      });
      ctx.save();
      ctx.clip();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.strokeStyle = soft(hue("edge"), 0.55);
      ctx.lineWidth = devicePixelRatio;
      if (bound.some((each) => each !== null)) for (let x = bbox.left - bbox.height; x < bbox.left + bbox.width; x += 7 * devicePixelRatio) { ctx.moveTo(x, bbox.top + bbox.height); ctx.lineTo(x + bbox.height, bbox.top); }
      ctx.stroke();
      ctx.restore();
    }
    ctx.restore();
  }

  tabulate() {
    if (!this.table.open) return;
    const heads = [said.time, ...this.data.lines.map((each) => `${each.label}, ${each.unit}`)];
    const row = (cells, name) => make("tr", {}, ...cells.map((text, at) => make(at && name === "td" ? "td" : "th", { class: at ? "num" : "", scope: name === "th" ? "col" : "row" }, text)));
    const shown = this.data.times.map((time, at) => [this.clockAt(time), ...this.data.lines.map((each) => each.values[at] === null ? "–" : decimals(each.values[at], each.unit))]);
    const body = make("tbody", {}, ...shown.slice(-500).reverse().map((cells) => row(cells, "td")));
    const button = make("button", { type: "button" }, said.csv);
    button.onclick = () => this.csv(heads);
    this.table.replaceChildren(this.table.firstChild, make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": this.data.title }, make("table", { class: "list" }, make("thead", {}, row(heads, "th")), body)), button);
  }

  csv(heads) {
    const cell = (text) => `"${String(text ?? "").replace(/"/g, '""')}"`;
    const rows = this.data.times.map((time, at) => [new Date(time * 1000).toISOString(), ...this.data.lines.map((each) => each.values[at])]);
    const link = make("a", { download: `${this.data.title}.csv` });
    link.href = URL.createObjectURL(new Blob([[heads, ...rows].map((each) => each.map(cell).join(",")).join("\r\n")], { type: "text/csv" }));
    link.click();
    URL.revokeObjectURL(link.href);
  }
}

function draw(within) {
  for (const figure of within.querySelectorAll("figure.chart[data-chart]")) {
    if (!charts.has(figure.dataset.key)) charts.set(figure.dataset.key, new Chart(figure));
  }
}

