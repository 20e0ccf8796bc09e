// The map: sites and vehicles by their coordinates, without tiles; points move as vehicles report.
"use strict";

for (const canvas of document.querySelectorAll("[data-map]")) {
  const sites = JSON.parse(canvas.dataset.sites), vehicles = new Map();
  let centre = null, scale = 0, waiting = false;

  // Mercator, in turns: good enough for a fleet, and what readers of maps are used to
  const x = (longitude) => longitude / 360;
  const y = (latitude) => -Math.log(Math.tan(Math.PI / 4 + (Math.max(-85, Math.min(85, latitude)) * Math.PI) / 360)) / (2 * Math.PI);

  function fit() {
    const points = [...sites.map(([, ...at]) => at), ...vehicles.values()];
    if (!points.length) return;
    let [west, east, north, south] = [1, -1, 1, -1];
    for (const [latitude, longitude] of points) {
      west = Math.min(west, x(longitude)); east = Math.max(east, x(longitude));
      north = Math.min(north, y(latitude)); south = Math.max(south, y(latitude));
    }
    centre = [(west + east) / 2, (north + south) / 2];
    scale = 0.9 * Math.min(canvas.clientWidth / Math.max(east - west, 1e-5), canvas.clientHeight / Math.max(south - north, 1e-5));
  }

  function draw() {
    waiting = false;
    const ratio = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== width * ratio || canvas.height !== height * ratio) [canvas.width, canvas.height] = [width * ratio, height * ratio];
    const style = getComputedStyle(document.documentElement), ink = canvas.getContext("2d");
    const colour = (name) => style.getPropertyValue(name);
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.clearRect(0, 0, width, height);
    if (!centre) return;
    const place = (latitude, longitude) => [width / 2 + (x(longitude) - centre[0]) * scale, height / 2 + (y(latitude) - centre[1]) * scale];
    grid(ink, place, width, height, colour);
    ink.fillStyle = colour("--import");
    for (const [latitude, longitude] of vehicles.values()) {
      const [left, top] = place(latitude, longitude);
      ink.fillRect(left - 2, top - 2, 4, 4);
    }
    ink.fillStyle = colour("--export");
    ink.font = "13px system-ui";
    for (const [name, latitude, longitude] of sites) {
      const [left, top] = place(latitude, longitude);
      ink.fillRect(left - 5, top - 5, 10, 10);
      ink.fillText(name, left + 9, top + 4);
    }
    canvas.dataset.drawn = canvas.dataset.newest ?? "";
  }

  function grid(ink, place, width, height, colour) {
    const wide = 360 * width / scale, step = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30].find((each) => wide / each < 12) ?? 30;
    const middle = (2 * Math.atan(Math.exp(-2 * Math.PI * centre[1])) - Math.PI / 2) * 180 / Math.PI, digits = Math.max(0, Math.ceil(-Math.log10(step)));
    ink.strokeStyle = colour("--line");
    ink.fillStyle = colour("--dim");
    ink.font = "11px system-ui";
    ink.beginPath();
    for (let at = -10; at <= 10; at++) {
      const longitude = (Math.round(centre[0] * 360 / step) + at) * step, latitude = (Math.round(middle / step) + at) * step;
      const left = place(0, longitude)[0], top = place(latitude, 0)[1];
      ink.moveTo(left, 0); ink.lineTo(left, height); ink.moveTo(0, top); ink.lineTo(width, top);
      ink.fillText(`${longitude.toFixed(digits)}°`, left + 3, height - 4);
      if (Math.abs(latitude) < 85) ink.fillText(`${latitude.toFixed(digits)}°`, 3, top - 3);
    }
    ink.stroke();
  }

  function later() {
    if (!waiting) { waiting = true; requestAnimationFrame(draw); }
  }

  function zoom(factor) { scale *= factor; later(); }
  function move(right, down) { if (centre) { centre[0] += right / scale; centre[1] += down / scale; later(); } }

  const source = new EventSource(canvas.dataset.map);
  source.addEventListener("positions", (event) => {
    const first = !vehicles.size;
    const moved = JSON.parse(event.data);
    for (const [ev, ...at] of moved) at[0] === null ? vehicles.delete(ev) : vehicles.set(ev, at);
    if (first || !canvas.dataset.touched) fit();
    canvas.dataset.newest = Math.max(...moved.map((each) => each[3]));
    const count = document.getElementById("count"), said = count.dataset;
    const of = (number, name) => `${number} ${said[number === 1 ? name : `${name}s`]}`;
    count.textContent = `${of(vehicles.size, "vehicle")}, ${of(sites.length, "site")}`;
    later();
  });
  source.onerror = () => lost(source.readyState !== EventSource.OPEN);
  source.onopen = () => lost(false);

  const touched = () => { canvas.dataset.touched = "yes"; };
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); touched(); zoom(event.deltaY < 0 ? 1.25 : 0.8); }, { passive: false });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) { touched(); move(-event.movementX, -event.movementY); } });
  canvas.addEventListener("keydown", (event) => {
    const act = {
      "+": () => zoom(1.25), "-": () => zoom(0.8), ArrowLeft: () => move(-40, 0), ArrowRight: () => move(40, 0),
      ArrowUp: () => move(0, -40), ArrowDown: () => move(0, 40), 0: () => { fit(); later(); },
    }[event.key];
    if (act) { event.preventDefault(); touched(); act(); }
  });
  new ResizeObserver(() => { if (!canvas.dataset.touched) fit(); later(); }).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);
  if (sites.length) fit();
  later();
}
