// Times and numbers as text.

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const numbers = new Intl.NumberFormat();

export const number = (value) => numbers.format(value);

export const timeOfDay = (milliseconds) => clock.format(milliseconds);

export const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

/** Format a time span: 12 s, 3 min 5 s, 2 h 10 min, 8 d 3 h. */
export function elapsed(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

/** Format a time span, below ten seconds with tenths: 0.4 s. */
export const duration = (milliseconds) =>
  milliseconds < 9_950 ? `${(Math.max(0, milliseconds) / 1000).toFixed(1)} s` : elapsed(milliseconds);
