// Generated from clients/typescript/src/api.ts by `make typescript`. Change it there.
import { gatewayAddress } from "./addresses.js";
import { errorOf } from "./errors.js";
import { Patience } from "./patience.js";
const longestAnswer = 30_000; // milliseconds, besides the time that it was asked to wait
/** The JSON interface of a gateway. Each call is one request; it throws ThumbqError for an answer other than 2xx. */
export class Thumbq {
    #gateway;
    /** `url` of the gateway, such as "http://localhost:5009"; in a page that comes from it nothing is needed. */
    constructor({ url } = {}) {
        this.#gateway = gatewayAddress(url);
    }
    /** Asks for a thumbnail. Asking again for the same model and hash finds the same job. */
    enqueue(job, options) {
        return this.#post("api/thumbnail-jobs", job, options);
    }
    /** The same for up to 10,000 jobs at once, all or none; the answers are in their order. */
    async enqueueMany(jobs, options) {
        return (await this.#post("api/thumbnail-jobs/enqueue-batch", { jobs }, options)).jobs;
    }
    /** One job; with `wait` (at most 30) the answer comes when it has ended, or as it stands when the time is up. */
    job(jobId, { wait, ...options } = {}) {
        return this.#send("GET", `api/thumbnail-jobs/${jobId}`, { ...options, query: { wait }, wait });
    }
    /** Jobs, newest first, page by page. */
    jobs(filter = {}, options) {
        return this.#send("GET", "api/thumbnail-jobs", { ...options, query: filter });
    }
    /** Claims the next due job, or undefined when there is none. */
    dequeue(claim, options) {
        return this.#post("api/thumbnail-jobs/dequeue", claim, options, claim.wait);
    }
    /** Claims several due jobs as soon as there is one. */
    async dequeueMany(claim, options) {
        return (await this.#post("api/thumbnail-jobs/dequeue-batch", claim, options, claim.wait)).jobs;
    }
    /** Reports that the picture is there. */
    complete(jobId, picture, options) {
        return this.#post(`api/thumbnail-jobs/${jobId}/complete`, picture, options);
    }
    /** Reports a failed attempt; the queue tries again while attempts are left. */
    fail(jobId, failure, options) {
        return this.#post(`api/thumbnail-jobs/${jobId}/fail`, failure, options);
    }
    /** Reports on many jobs at once; those that are not in the answer were taken. */
    async reportResults(results, options) {
        const path = "api/thumbnail-jobs/results";
        return (await this.#post(path, { results }, options)).exceptions;
    }
    /** Keeps a job for longer; the moment until which. */
    async extendLease(jobId, lease, options) {
        const path = `api/thumbnail-jobs/${jobId}/extend`;
        return (await this.#post(path, lease, options)).leaseExpiresAt;
    }
    /** Gives a job back; the attempt does not count. */
    async release(jobId, lease, options) {
        await this.#post(`api/thumbnail-jobs/${jobId}/release`, lease, options);
    }
    /** Ends a job that waits or is being worked on. */
    async cancel(jobId, options) {
        return (await this.#post(`api/thumbnail-jobs/${jobId}/cancel`, {}, options)).job;
    }
    /** Starts an ended job anew, under its id. */
    async retry(jobId, options) {
        return (await this.#post(`api/thumbnail-jobs/${jobId}/retry`, {}, options)).job;
    }
    /** Ends all jobs of a model, say because it was deleted; their ids. */
    async cancelModelJobs(modelId, options) {
        return (await this.#post(`api/models/${modelId}/cancel-jobs`, {}, options)).jobIds;
    }
    /** What to show for a model now, never from the browser's cache. */
    thumbnail(modelId, options) {
        return this.#send("GET", `models/${modelId}/thumbnail`, options);
    }
    /** Where the log of notifications stands now. Read it, load your state, then subscribe from it. */
    async cursor(options) {
        return (await this.#send("GET", "api/notifications/cursor", options)).cursor;
    }
    /** Announces a status that no worker reported, to try out a page. */
    async announceTest(modelId, notification, options) {
        await this.#post(`api/test/thumbnail-complete/${modelId}`, notification, options);
    }
    #post(path, body, options, wait) {
        return this.#send("POST", path, { ...options, body, wait });
    }
    async #send(method, path, { query = {}, body, wait = 0, signal } = {}) {
        const address = new URL(path, this.#gateway);
        for (const [name, value] of Object.entries(query)) {
            if (value !== undefined)
                address.searchParams.set(name, String(value));
        }
        const patience = new Patience(signal);
        try {
            const response = await patience.wait(longestAnswer + wait * 1_000, fetch(address, {
                method,
                cache: "no-store",
                signal: patience.signal,
                ...(body && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
            }));
            if (!response.ok)
                throw await patience.wait(longestAnswer, errorOf(response));
            return (response.status === 204 ? undefined : await patience.wait(longestAnswer, response.json()));
        }
        finally {
            patience.end();
        }
    }
}
