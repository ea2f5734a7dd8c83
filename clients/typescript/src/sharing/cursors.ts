import type { Cursor, Reset } from "../types.js";

const cursor = /^([0-9A-Za-z]+)-([0-9]+)$/;

/** Return whether the text is a position that tabs can compare: a cursor, or "earliest". */
export function isPosition(text: string): boolean {
  return text === "earliest" || cursor.test(text);
}

/** Return whether a stream from `one` has events that a stream from `other` lacks. */
export function isEarlier(one: Cursor, other: Cursor): boolean {
  if (one === other || other === "earliest") return false;
  const [, epoch, seq] = cursor.exec(one) ?? [];
  const [, otherEpoch, otherSeq] = cursor.exec(other) ?? [];
  return epoch !== otherEpoch || Number(seq) < Number(otherSeq);
}

/** Return whether a reset concerns a tab at this position. The stream goes on at the reset's cursor for all tabs. */
export function isReset(position: Cursor, { cursor: next, reason }: Reset): boolean {
  return isEarlier(position, next) || position === "earliest" || (reason === "Future" && isEarlier(next, position));
}

/** Return whether two positions are cursors of different logs. */
export function areOfTwoLogs(one: Cursor, other: Cursor): boolean {
  const [, epoch] = cursor.exec(one) ?? [];
  const [, otherEpoch] = cursor.exec(other) ?? [];
  return epoch !== undefined && otherEpoch !== undefined && epoch !== otherEpoch;
}
