import type { StreamRequest } from "../network/stream_request.js";

/** Return a request for all that these requests want. */
export function union(requests: Iterable<StreamRequest>): StreamRequest {
  const all = [...requests];
  return {
    after: "earliest",
    modelIds: together(all.map((request) => request.modelIds)).sort((one, other) => one - other),
    statuses: together(all.map((request) => request.statuses)).sort(),
    thumbnails: all.some((request) => request.thumbnails),
    progress: all.some((request) => request.progress),
    queue: all.some((request) => request.queue),
  };
}

/** Return each value once. An empty list stands for all values. */
function together<T>(lists: (readonly T[])[]): T[] {
  return lists.some((list) => list.length === 0) ? [] : [...new Set(lists.flat())];
}
