// Durations and points in time of the JSON routes, as text.

import { now } from "../shared/clock.js";
import { duration, elapsed } from "../shared/format.js";

const dayAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** Return the milliseconds of a duration such as "1.5s", or undefined. */
export const milliseconds = (text) => (text === undefined ? undefined : Number.parseFloat(text) * 1000);

export const span = (text) => (text === undefined ? "–" : duration(milliseconds(text)));

export const moment = (text) => (text ? dayAndTime.format(Date.parse(text)) : "–");

export const ago = (text) => (text ? `${elapsed(now() - Date.parse(text))} ago` : "–");

export const between = (from, to) => (from && to ? duration(Date.parse(to) - Date.parse(from)) : "–");

export const quantiles = ({ p50, p95, samples } = {}) => (samples ? `${span(p50)}, ${span(p95)}` : "–");
