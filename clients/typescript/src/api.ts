import { gatewayAddress } from "./addresses.js";
import { errorOf } from "./errors.js";
import { pause } from "./network/back_off.js";
import { Credentials, type Access } from "./network/credentials.js";
import { Deadline } from "./network/deadline.js";
import type {
  BatchClaim,
  Claim,
  Cursor,
  Enqueued,
  Failure,
  Job,
  JobFilter,
  JobPage,
  Leased,
  NewJob,
  Picture,
  Reported,
  Result,
  ResultException,
  Seconds,
  Thumbnail,
  Thumbnails,
  ThumbnailStatus,
  Timestamp,
} from "./types.js";

const patience = 30_000; // milliseconds in which a call that came too often is tried again
const answerTimeout = 30_000; // milliseconds, added to the time that the caller asks to wait

export interface CallOptions {
  /** Aborts the call. */
  signal?: AbortSignal;
}

interface Request extends CallOptions {
  query?: object;
  body?: object;
  wait?: Seconds | undefined;
}

/**
 * The JSON interface of a gateway. A call throws ThumbqError unless the answer is 2xx. One that comes too often (429) is
 * tried again for half a minute, when the gateway says so: nothing was done.
 */
export class Thumbq {
  readonly #gateway: URL;
  readonly #credentials: Credentials;

  /**
   * @param url the gateway, such as "http://localhost:5009"; a page that the gateway serves can leave it out
   * @param access the caller's API key, or a function that fetches a ticket; a page that has signed in needs neither
   * @param credentials in place of access; `follow` shares them with its stream, so that both show the same ticket
   */
  constructor({ url, ...access }: Access & { url?: string | URL | undefined } = {}, credentials?: Credentials) {
    this.#gateway = gatewayAddress(url);
    this.#credentials = credentials ?? new Credentials(this.#gateway, access);
  }

  /** Request a thumbnail. A second request for the same model and hash finds the same job. */
  enqueue(job: NewJob, options?: CallOptions): Promise<Enqueued> {
    return this.#post("api/thumbnail-jobs", job, options);
  }

  /** Request up to 10,000 thumbnails. A malformed job refuses all. The answers are in the order of the jobs. */
  async enqueueMany(jobs: readonly NewJob[], options?: CallOptions): Promise<Enqueued[]> {
    return (await this.#post<{ jobs: Enqueued[] }>("api/thumbnail-jobs/enqueue-batch", { jobs }, options)).jobs;
  }

  /** Read one job. With `wait` (at most 30) the answer comes when the job has ended, or when the time is up. */
  job(jobId: number, { wait, ...options }: CallOptions & { wait?: Seconds } = {}): Promise<Job> {
    return this.#send("GET", `api/thumbnail-jobs/${jobId}`, { ...options, query: { wait }, wait });
  }

  /** List jobs page by page, newest first. */
  jobs(filter: JobFilter = {}, options?: CallOptions): Promise<JobPage> {
    return this.#send("GET", "api/thumbnail-jobs", { ...options, query: filter });
  }

  /** Claim the next due job. Returns undefined if there is none. */
  dequeue(claim: Claim, options?: CallOptions): Promise<Job | undefined> {
    return this.#post("api/thumbnail-jobs/dequeue", claim, options, claim.wait);
  }

  /** Claim several due jobs as soon as there is at least one. */
  async dequeueMany(claim: BatchClaim, options?: CallOptions): Promise<Job[]> {
    return (await this.#post<{ jobs: Job[] }>("api/thumbnail-jobs/dequeue-batch", claim, options, claim.wait)).jobs;
  }

  /** Report a finished picture. */
  complete(jobId: number, picture: Picture & Leased, options?: CallOptions): Promise<Reported> {
    return this.#post(`api/thumbnail-jobs/${jobId}/complete`, picture, options);
  }

  /** Report a failed attempt. The queue retries while attempts are left. */
  fail(jobId: number, failure: Failure & Leased, options?: CallOptions): Promise<Reported> {
    return this.#post(`api/thumbnail-jobs/${jobId}/fail`, failure, options);
  }

  /** Report the results of many jobs. The answer lists only those that were not simply accepted. */
  async reportResults(results: readonly Result[], options?: CallOptions): Promise<ResultException[]> {
    const path = "api/thumbnail-jobs/results";
    return (await this.#post<{ exceptions: ResultException[] }>(path, { results }, options)).exceptions;
  }

  /** Extend a lease. Returns its new end. */
  async extendLease(
    jobId: number,
    lease: Required<Leased> & { duration?: Seconds },
    options?: CallOptions,
  ): Promise<Timestamp> {
    const path = `api/thumbnail-jobs/${jobId}/extend`;
    return (await this.#post<{ leaseExpiresAt: Timestamp }>(path, lease, options)).leaseExpiresAt;
  }

  /** Tell how far a job has come. It extends the lease: returns its new end. */
  async reportProgress(
    jobId: number,
    told: Leased & { progress: number; progressText?: string },
    options?: CallOptions,
  ): Promise<Timestamp> {
    const path = `api/thumbnail-jobs/${jobId}/progress`;
    return (await this.#post<{ leaseExpiresAt: Timestamp }>(path, told, options)).leaseExpiresAt;
  }

  /** Give a job back. The attempt does not count. */
  async release(jobId: number, lease: Required<Leased>, options?: CallOptions): Promise<void> {
    await this.#post(`api/thumbnail-jobs/${jobId}/release`, lease, options);
  }

  /** Cancel a job that is pending or processing. */
  async cancel(jobId: number, options?: CallOptions): Promise<Job> {
    return (await this.#post<{ job: Job }>(`api/thumbnail-jobs/${jobId}/cancel`, {}, options)).job;
  }

  /** Restart an ended job under the same id. */
  async retry(jobId: number, options?: CallOptions): Promise<Job> {
    return (await this.#post<{ job: Job }>(`api/thumbnail-jobs/${jobId}/retry`, {}, options)).job;
  }

  /** Cancel all jobs of a model, for instance because it was deleted. Returns their ids. */
  async cancelModelJobs(modelId: number, options?: CallOptions): Promise<number[]> {
    return (await this.#post<{ jobIds: number[] }>(`api/models/${modelId}/cancel-jobs`, {}, options)).jobIds;
  }

  /** Delete all that is known of a model, its picture too. Returns the ids of the jobs that it had. */
  async forget(modelId: number, options?: CallOptions): Promise<number[]> {
    return (await this.#send<{ jobIds: number[] }>("DELETE", `models/${modelId}/thumbnail`, options)).jobIds;
  }

  /** Read the present thumbnail of a model, never from the browser's cache. */
  thumbnail(modelId: number, options?: CallOptions): Promise<Thumbnail> {
    return this.#send("GET", `models/${modelId}/thumbnail`, options);
  }

  /** Read the present thumbnails of 1 to 1,000 models in one request. The answers are in the order of the ids. */
  thumbnails(modelIds: readonly number[], options?: CallOptions): Promise<Thumbnails> {
    return this.#post("models/thumbnails", { modelIds }, options);
  }

  /** Read the head of the notification log. Load your state after it, then subscribe from this cursor. */
  async cursor(options?: CallOptions): Promise<Cursor> {
    return (await this.#send<{ cursor: Cursor }>("GET", "api/notifications/cursor", options)).cursor;
  }

  /** Announce a status that no worker reported, to try out a page. */
  async announceTest(
    modelId: number,
    notification: { status: ThumbnailStatus; thumbnailUrl?: string; errorMessage?: string },
    options?: CallOptions,
  ): Promise<void> {
    await this.#post(`api/test/thumbnail-complete/${modelId}`, notification, options);
  }

  #post<T>(path: string, body: object, options?: CallOptions, wait?: Seconds): Promise<T> {
    return this.#send("POST", path, { ...options, body, wait });
  }

  async #send<T>(method: string, path: string, { query = {}, body, wait = 0, signal }: Request = {}): Promise<T> {
    const address = new URL(path, this.#gateway);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) address.searchParams.set(name, String(value));
    }
    const init = { method, ...(body && { body: JSON.stringify(body) }) };
    const limit = answerTimeout + wait * 1_000;
    const until = performance.now() + patience;
    for (;;) {
      const deadline = new Deadline(signal);
      try {
        const response = await deadline.limit(limit, this.#fetch(address, init, deadline.signal));
        if (response.ok) {
          return (response.status === 204 ? undefined : await deadline.limit(answerTimeout, response.json())) as T;
        }
        const error = await deadline.limit(answerTimeout, errorOf(response));
        const longer = response.status === 429 ? (error.retryAfter ?? 1) * 1_000 : Infinity;
        if (performance.now() + longer > until) throw error;
        await pause(longer, deadline.signal);
        signal?.throwIfAborted();
      } finally {
        deadline.end();
      }
    }
  }

  #fetch(address: URL, init: RequestInit, signal: AbortSignal): Promise<Response> {
    return this.#credentials.send((shown) => {
      const headers = { ...shown, ...(init.body && { "Content-Type": "application/json" }) };
      return fetch(address, { ...init, headers, cache: "no-store", signal });
    });
  }
}
