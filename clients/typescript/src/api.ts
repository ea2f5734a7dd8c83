import { gatewayAddress } from "./addresses.js";
import { errorOf } from "./errors.js";
import { Patience } from "./patience.js";
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
  ThumbnailStatus,
  Timestamp,
} from "./types.js";

const longestAnswer = 30_000; // milliseconds, besides the time that it was asked to wait

export interface CallOptions {
  /** Ends the call early. */
  signal?: AbortSignal;
}

interface Request extends CallOptions {
  query?: object;
  body?: object;
  wait?: Seconds | undefined;
}

/** The JSON interface of a gateway. Each call is one request; it throws ThumbqError for an answer other than 2xx. */
export class Thumbq {
  readonly #gateway: URL;

  /** `url` of the gateway, such as "http://localhost:5009"; in a page that comes from it nothing is needed. */
  constructor({ url }: { url?: string | URL } = {}) {
    this.#gateway = gatewayAddress(url);
  }

  /** Asks for a thumbnail. Asking again for the same model and hash finds the same job. */
  enqueue(job: NewJob, options?: CallOptions): Promise<Enqueued> {
    return this.#post("api/thumbnail-jobs", job, options);
  }

  /** The same for up to 10,000 jobs at once, all or none; the answers are in their order. */
  async enqueueMany(jobs: readonly NewJob[], options?: CallOptions): Promise<Enqueued[]> {
    return (await this.#post<{ jobs: Enqueued[] }>("api/thumbnail-jobs/enqueue-batch", { jobs }, options)).jobs;
  }

  /** One job; with `wait` (at most 30) the answer comes when it has ended, or as it stands when the time is up. */
  job(jobId: number, { wait, ...options }: CallOptions & { wait?: Seconds } = {}): Promise<Job> {
    return this.#send("GET", `api/thumbnail-jobs/${jobId}`, { ...options, query: { wait }, wait });
  }

  /** Jobs, newest first, page by page. */
  jobs(filter: JobFilter = {}, options?: CallOptions): Promise<JobPage> {
    return this.#send("GET", "api/thumbnail-jobs", { ...options, query: filter });
  }

  /** Claims the next due job, or undefined when there is none. */
  dequeue(claim: Claim, options?: CallOptions): Promise<Job | undefined> {
    return this.#post("api/thumbnail-jobs/dequeue", claim, options, claim.wait);
  }

  /** Claims several due jobs as soon as there is one. */
  async dequeueMany(claim: BatchClaim, options?: CallOptions): Promise<Job[]> {
    return (await this.#post<{ jobs: Job[] }>("api/thumbnail-jobs/dequeue-batch", claim, options, claim.wait)).jobs;
  }

  /** Reports that the picture is there. */
  complete(jobId: number, picture: Picture & Leased, options?: CallOptions): Promise<Reported> {
    return this.#post(`api/thumbnail-jobs/${jobId}/complete`, picture, options);
  }

  /** Reports a failed attempt; the queue tries again while attempts are left. */
  fail(jobId: number, failure: Failure & Leased, options?: CallOptions): Promise<Reported> {
    return this.#post(`api/thumbnail-jobs/${jobId}/fail`, failure, options);
  }

  /** Reports on many jobs at once; those that are not in the answer were taken. */
  async reportResults(results: readonly Result[], options?: CallOptions): Promise<ResultException[]> {
    const path = "api/thumbnail-jobs/results";
    return (await this.#post<{ exceptions: ResultException[] }>(path, { results }, options)).exceptions;
  }

  /** Keeps a job for longer; the moment until which. */
  async extendLease(
    jobId: number,
    lease: Required<Leased> & { duration?: Seconds },
    options?: CallOptions,
  ): Promise<Timestamp> {
    const path = `api/thumbnail-jobs/${jobId}/extend`;
    return (await this.#post<{ leaseExpiresAt: Timestamp }>(path, lease, options)).leaseExpiresAt;
  }

  /** Gives a job back; the attempt does not count. */
  async release(jobId: number, lease: Required<Leased>, options?: CallOptions): Promise<void> {
    await this.#post(`api/thumbnail-jobs/${jobId}/release`, lease, options);
  }

  /** Ends a job that waits or is being worked on. */
  async cancel(jobId: number, options?: CallOptions): Promise<Job> {
    return (await this.#post<{ job: Job }>(`api/thumbnail-jobs/${jobId}/cancel`, {}, options)).job;
  }

  /** Starts an ended job anew, under its id. */
  async retry(jobId: number, options?: CallOptions): Promise<Job> {
    return (await this.#post<{ job: Job }>(`api/thumbnail-jobs/${jobId}/retry`, {}, options)).job;
  }

  /** Ends all jobs of a model, say because it was deleted; their ids. */
  async cancelModelJobs(modelId: number, options?: CallOptions): Promise<number[]> {
    return (await this.#post<{ jobIds: number[] }>(`api/models/${modelId}/cancel-jobs`, {}, options)).jobIds;
  }

  /** What to show for a model now, never from the browser's cache. */
  thumbnail(modelId: number, options?: CallOptions): Promise<Thumbnail> {
    return this.#send("GET", `models/${modelId}/thumbnail`, options);
  }

  /** Where the log of notifications stands now. Read it, load your state, then subscribe from it. */
  async cursor(options?: CallOptions): Promise<Cursor> {
    return (await this.#send<{ cursor: Cursor }>("GET", "api/notifications/cursor", options)).cursor;
  }

  /** Announces a status that no worker reported, to try out a page. */
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
    const patience = new Patience(signal);
    try {
      const response = await patience.wait(
        longestAnswer + wait * 1_000,
        fetch(address, {
          method,
          cache: "no-store",
          signal: patience.signal,
          ...(body && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
        }),
      );
      if (!response.ok) throw await patience.wait(longestAnswer, errorOf(response));
      return (response.status === 204 ? undefined : await patience.wait(longestAnswer, response.json())) as T;
    } finally {
      patience.end();
    }
  }
}
