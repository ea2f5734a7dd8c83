// The gateway's clock. That of a browser may be wrong, and times on the pages are those of the queue.

const leastDifference = 2_000; // milliseconds; the header has whole seconds, and an answer takes time
let ahead = 0; // milliseconds, of this browser's clock

/** Take the time from an answer of the gateway. */
export function noteTime(response) {
  const difference = Date.parse(response.headers.get("Date")) - Date.now();
  ahead = Math.abs(difference) > leastDifference ? difference : 0;
}

/** Return the gateway's time in milliseconds. */
export const now = () => Date.now() + ahead;
