// Small line charts in SVG.

import { h, svg } from "./dom.js";
import { clock } from "./format.js";

const WIDTH = 600;
const HEIGHT = 130;

/** Return a round number that is not less than `value`. */
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

/**
 * A chart of the last `most` seconds, or of less while less is known.  `draw(lines)` takes lines of
 * `{name, points: [[time, value], …]}`, times in seconds, and draws them anew.
 */
export function chart(title, format, { most = 900, least = 1 } = {}) {
  const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  const now = h("span", { class: "now" }, "–");
  const top = h("span", { class: "axis top" });
  const middle = h("span", { class: "axis middle" });
  const tip = h("div", { class: "tip", hidden: true });
  const began = h("span");
  const cursor = h("div", { class: "cursor", hidden: true });
  const area = h("div", { class: "plot" }, plot, top, middle, cursor, tip);
  const element = h("figure", { class: "card chart" },
    h("figcaption", {}, h("span", { class: "title" }, title), now),
    area,
    h("div", { class: "times", "aria-hidden": "true" }, began, h("span", {}, "now")));
  let lines = [];
  let end = 0;
  let seconds = most;
  let pointer = null;

  const x = (time) => WIDTH * (1 - (end - time) / seconds);

  function draw(given, time, sum = false) {
    lines = given;
    end = time;
    const known = Math.max(0, ...lines.map((line) => line.points.length ? end - line.points[0][0] : 0));
    seconds = [30, 60, 120, 300].find((each) => known <= each) ?? most;
    began.textContent = seconds < 60 ? `${seconds} s ago` : `${seconds / 60} min ago`;
    const visible = lines.map((line) => line.points.filter(([at]) => at >= end - seconds - 5));
    const peak = Math.max(0, ...visible.flat().map(([, value]) => value));
    const high = ceiling(Math.max(peak * 1.1, least));
    const y = (value) => HEIGHT - 2 - (HEIGHT - 4) * value / high;
    plot.replaceChildren();
    for (const share of [0.5, 1]) {
      plot.append(svg("line", { x1: 0, x2: WIDTH, y1: y(high * share), y2: y(high * share), class: "grid" }));
    }
    visible.forEach((points, index) => {
      if (!points.length) return;
      const path = points.map(([at, value], i) =>
        `${i ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      const colour = `c${index % 6}`;
      if (lines.length === 1) {
        const first = x(points[0][0]).toFixed(1);
        const last = x(points.at(-1)[0]).toFixed(1);
        plot.append(svg("path", { d: `${path}L${last} ${HEIGHT}L${first} ${HEIGHT}Z`, class: `area ${colour}` }));
      }
      plot.append(svg("path", { d: path, class: `line ${colour}` }));
    });
    top.textContent = format(high);
    middle.textContent = format(high / 2);
    const latest = visible.filter((points) => points.length).map((points) => points.at(-1)[1]);
    const shown = !latest.length ? "–"
      : format(sum ? latest.reduce((a, b) => a + b, 0) : Math.max(...latest));
    now.textContent = shown;
    plot.setAttribute("aria-label", `${title}: now ${shown}`);
    if (pointer !== null) point();
  }

  function point() {
    const time = end - seconds * (1 - pointer);
    const rows = lines.filter((line) => line.points.length).map((line, index) => {
      const nearest = line.points.reduce((a, b) => Math.abs(b[0] - time) < Math.abs(a[0] - time) ? b : a);
      return [line.name, nearest, index];
    });
    const near = rows.length && Math.abs(rows[0][1][0] - time) < 10;
    tip.hidden = cursor.hidden = !near;
    if (!near) return;
    tip.replaceChildren(h("time", {}, clock(new Date(rows[0][1][0] * 1000))),
      ...rows.map(([name, [, value], index]) => h("div", {},
        h("i", { class: `dot c${index % 6}` }), lines.length > 1 ? `${name} ` : "", h("b", {}, format(value)))));
    const share = Math.min(1, Math.max(0, x(rows[0][1][0]) / WIDTH));
    cursor.style.left = `${share * 100}%`;
    tip.style.left = `${share * 100}%`;
    tip.classList.toggle("left", share > 0.6);
  }

  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    pointer = (event.clientX - box.left) / box.width;
    point();
  });
  area.addEventListener("pointerleave", () => {
    pointer = null;
    tip.hidden = cursor.hidden = true;
  });
  return { element, draw };
}
