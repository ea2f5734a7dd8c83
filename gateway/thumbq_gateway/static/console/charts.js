// Two plots as SVG. Each has a sentence for those who do not see it.

import { number, timeOfDay } from "../shared/format.js";

const height = 150; // pixels; the width is that of the page
const edge = { right: 8, top: 10, bottom: 22 };
const space = "http://www.w3.org/2000/svg";

/** Draw points {at, value} as an area. */
export function drawDepth(svg, points) {
  const width = widthOf(svg);
  const most = Math.max(1, ...points.map(({ value }) => value));
  const left = widthOfLabels(most);
  const first = points[0].at;
  const last = Math.max(points.at(-1).at, first + 1);
  const x = (at) => left + ((at - first) / (last - first)) * (width - left - edge.right);
  const y = (value) => height - edge.bottom - (value / most) * (height - edge.top - edge.bottom);
  const line = points.map(({ at, value }) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
  const base = height - edge.bottom;
  begin(svg, width, `${number(points.at(-1).value)} jobs wait now; at most ${number(most)} since ${timeOfDay(first)}.`);
  axis(svg, width, left, most, timeOfDay(first), timeOfDay(points.at(-1).at));
  add(svg, "path", { class: "area", d: `M${x(first)} ${base}L${line.join("L")}V${base}Z` });
  add(svg, "path", { class: "line", d: `M${line.join("L")}` });
}

// How attempts end. Those that are cancelled or given back say nothing of the work, so they are told and not drawn.
const drawn = ["completed", "failed", "expired"];
const rare = ["expired", "cancelled", "released"];

/**
 * Draw minutes {at} with how many attempts ended in each way as bars; a missing number is 0. Minutes that nobody has
 * looked at (isUnknown) are grey, and not counted.
 */
export function drawThroughput(svg, minutes) {
  const width = widthOf(svg);
  const tall = (minute) => drawn.reduce((sum, name) => sum + (minute[name] ?? 0), 0);
  const most = Math.max(1, ...minutes.map(tall));
  const left = widthOfLabels(most);
  const known = minutes.filter(({ isUnknown }) => !isUnknown);
  const step = (width - left - edge.right) / minutes.length;
  const scale = (height - edge.top - edge.bottom) / most;
  begin(svg, width, `${ends(minutes)} in ${known.length} minutes.`);
  axis(svg, width, left, most, timeOfDay(minutes[0].at), timeOfDay(minutes.at(-1).at));
  minutes.forEach((minute, index) => {
    const x = left + index * step + step * 0.12;
    let y = height - edge.bottom;
    if (minute.isUnknown) bar(svg, "unknown", left + index * step, edge.top, step, y - edge.top);
    for (const name of drawn) {
      const rises = (minute[name] ?? 0) * scale;
      bar(svg, name, x, (y -= rises), step * 0.76, rises);
    }
  });
}

/** Return how attempts ended in all minutes, for those who do not see the bars. */
function ends(minutes) {
  const total = (name) => minutes.reduce((sum, minute) => sum + (minute[name] ?? 0), 0);
  const happened = rare.filter(total).map((name) => `, ${number(total(name))} ${name}`);
  return `${number(total("completed"))} completed, ${number(total("failed"))} failed${happened.join("")}`;
}

function bar(svg, name, x, y, breadth, tall) {
  if (tall > 0) add(svg, "rect", { class: name, x, y, width: breadth, height: tall });
}

const widthOf = (svg) => svg.clientWidth || 560;

/** Return the pixels at the left that the largest number needs. */
const widthOfLabels = (most) => Math.max(46, 14 + 7.5 * number(most).length);

function begin(svg, width, sentence) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", sentence);
  svg.replaceChildren();
}

function axis(svg, width, left, most, from, to) {
  const base = height - edge.bottom;
  add(svg, "path", { class: "axis", d: `M${left} ${base}H${width - edge.right}M${left} ${edge.top}H${width - edge.right}` });
  label(svg, left - 6, edge.top + 4, "end", number(most));
  label(svg, left - 6, base + 4, "end", "0");
  label(svg, left, height - 5, "start", from);
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
