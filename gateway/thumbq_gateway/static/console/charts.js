// Two plots as SVG. Each has a sentence for those who do not see it.

import { number, timeOfDay } from "../shared/format.js";

const height = 150; // pixels; the width is that of the page
const edge = { left: 46, right: 8, top: 10, bottom: 22 };
const space = "http://www.w3.org/2000/svg";

/** Draw points {at, value} as an area. */
export function drawDepth(svg, points) {
  const width = widthOf(svg);
  const most = Math.max(1, ...points.map(({ value }) => value));
  const first = points[0].at;
  const last = Math.max(points.at(-1).at, first + 1);
  const x = (at) => edge.left + ((at - first) / (last - first)) * (width - edge.left - edge.right);
  const y = (value) => height - edge.bottom - (value / most) * (height - edge.top - edge.bottom);
  const line = points.map(({ at, value }) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
  const base = height - edge.bottom;
  begin(svg, width, `${number(points.at(-1).value)} jobs wait now; at most ${number(most)} since ${timeOfDay(first)}.`);
  axis(svg, width, most, timeOfDay(first), timeOfDay(points.at(-1).at));
  add(svg, "path", { class: "area", d: `M${x(first)} ${base}L${line.join("L")}V${base}Z` });
  add(svg, "path", { class: "line", d: `M${line.join("L")}` });
}

/** Draw minutes {at, completed, failed} as bars. */
export function drawThroughput(svg, minutes) {
  const width = widthOf(svg);
  const most = Math.max(1, ...minutes.map(({ completed, failed }) => completed + failed));
  const step = (width - edge.left - edge.right) / minutes.length;
  const scale = (height - edge.top - edge.bottom) / most;
  const total = (name) => minutes.reduce((sum, minute) => sum + minute[name], 0);
  const sentence = `${number(total("completed"))} completed and ${number(total("failed"))} failed attempts`;
  begin(svg, width, `${sentence} in ${minutes.length} minutes.`);
  axis(svg, width, most, timeOfDay(minutes[0].at), timeOfDay(minutes.at(-1).at));
  minutes.forEach(({ completed, failed }, index) => {
    const x = edge.left + index * step + step * 0.12;
    const base = height - edge.bottom;
    bar(svg, "bar-completed", x, base - completed * scale, step * 0.76, completed * scale);
    bar(svg, "bar-failed", x, base - (completed + failed) * scale, step * 0.76, failed * scale);
  });
}

function bar(svg, name, x, y, breadth, tall) {
  if (tall > 0) add(svg, "rect", { class: name, x, y, width: breadth, height: tall });
}

const widthOf = (svg) => svg.clientWidth || 560;

function begin(svg, width, sentence) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", sentence);
  svg.replaceChildren();
}

function axis(svg, width, most, from, to) {
  const base = height - edge.bottom;
  add(svg, "path", { class: "axis", d: `M${edge.left} ${base}H${width - edge.right}M${edge.left} ${edge.top}H${width - edge.right}` });
  label(svg, edge.left - 6, edge.top + 4, "end", number(most));
  label(svg, edge.left - 6, base + 4, "end", "0");
  label(svg, edge.left, height - 5, "start", from);
  label(svg, width - edge.right, height - 5, "end", to);
}

function label(svg, x, y, anchor, text) {
  add(svg, "text", { x, y, "text-anchor": anchor }).textContent = text;
}

function add(svg, name, attributes) {
  const made = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  svg.append(made);
  return made;
}
