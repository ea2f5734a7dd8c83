// The state of each model, from notifications and snapshots of the queue. This file does not touch the DOM.

import { pictureAddress } from "../shared/pictures.js";

export class Models {
  #capacity;
  #recent = new Map(); // model id → model, in the order in which they first appeared
  #earlier = new Map(); // model id → time of the request, for the models beyond the capacity
  #changed = new Set();
  #rendering = new Map(); // job id → {workerId, attemptCount, claimedAt}
  #snapshotAt = 0;

  constructor(capacity) {
    this.#capacity = capacity;
  }

  get size() {
    return this.#recent.size;
  }

  get earlierCount() {
    return this.#earlier.size;
  }

  /** Take a notification: the newest one is the state of its model. */
  notify(notification, cursor) {
    const { modelId } = notification;
    const before = this.#recent.get(modelId);
    const at = Date.parse(notification.timestamp);
    const asked = notification.status === "Pending";
    const askedAt = asked ? at : (before?.askedAt ?? this.#earlier.get(modelId));
    this.#earlier.delete(modelId);
    this.#recent.set(modelId, {
      ...notification,
      at,
      askedAt,
      since: before?.since ?? at,
      pictureUrl: pictureOf(notification, cursor, before),
    });
    this.#changed.add(modelId);
    if (this.#recent.size > this.#capacity) this.#retire();
  }

  /** Take a snapshot of the queue. It is complete: a job that is missing in it is not being rendered. */
  observe(snapshot) {
    const before = this.#rendering;
    this.#rendering = new Map(snapshot.rendering.map((job) => [job.jobId, job]));
    this.#snapshotAt = Date.parse(snapshot.timestamp);
    for (const job of [...before.values(), ...snapshot.rendering]) {
      if (this.#recent.has(job.modelId)) this.#changed.add(job.modelId);
    }
  }

  clear() {
    this.#recent.clear();
    this.#earlier.clear();
    this.#changed.clear();
  }

  /** Return the ids of the models that changed, appeared or left since the last call. */
  takeChanges() {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /** Return the content of a model's card, or undefined if the model is no longer among the recent ones. */
  view(modelId) {
    const model = this.#recent.get(modelId);
    if (!model) return undefined;
    const claim = this.#claim(model);
    const state = claim ? "rendering" : (states[model.status] ?? "none");
    return {
      modelId,
      since: model.since, // time of its first notification
      state,
      pictureUrl: model.pictureUrl,
      test: Boolean(model.test),
      reason: model.errorMessage,
      willRetry: Boolean(model.willRetry),
      nextAttemptAt: model.nextAttemptAt ? Date.parse(model.nextAttemptAt) : undefined,
      attempts: claim?.attemptCount ?? model.attemptCount,
      workerId: claim?.workerId,
      claimedAt: claim ? Date.parse(claim.claimedAt) : undefined,
      took: state === "ready" && model.askedAt ? model.at - model.askedAt : undefined,
    };
  }

  #claim(model) {
    const claim = this.#rendering.get(model.jobId);
    if (!claim) return undefined;
    // Ignore a snapshot older than the request, and an attempt whose outcome is known.
    const news = model.status === "Pending" ? this.#snapshotAt >= model.at : Date.parse(claim.claimedAt) > model.at;
    return news ? claim : undefined;
  }

  #retire() {
    const [oldest, model] = this.#recent.entries().next().value;
    this.#recent.delete(oldest);
    this.#earlier.set(oldest, model.askedAt);
    this.#changed.add(oldest);
  }
}

/** A failed re-render keeps the last good picture; a model that was forgotten has none. */
function pictureOf({ status, thumbnailUrl }, cursor, before) {
  if (status === "None") return undefined;
  return thumbnailUrl ? pictureAddress(thumbnailUrl, cursor) : before?.pictureUrl;
}

const states = { Pending: "waiting", Processing: "rendering", Ready: "ready", Failed: "failed", None: "none" };
