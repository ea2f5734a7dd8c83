// Generated from clients/typescript/src/network/deadline.ts by `make typescript`. Change it there.
/** A signal that is aborted when a step takes too long, or when the caller's own signal is. */
export class Deadline {
    #controller = new AbortController();
    #outer;
    #giveUp = () => this.#controller.abort(this.#outer?.reason);
    constructor(outer) {
        this.#outer = outer;
        if (outer?.aborted)
            this.#giveUp();
        else
            outer?.addEventListener("abort", this.#giveUp);
    }
    get signal() {
        return this.#controller.signal;
    }
    /** Wait for a step; abort the signal after the given milliseconds. */
    async limit(milliseconds, step) {
        const timer = setTimeout(() => {
            this.#controller.abort(new DOMException(`Nothing came for ${milliseconds} ms.`, "TimeoutError"));
        }, milliseconds);
        try {
            return await this.wait(step);
        }
        finally {
            clearTimeout(timer);
        }
    }
    /** Wait for a step until the signal is aborted, also for one that does not listen to it. */
    async wait(step) {
        let end = () => undefined;
        const aborted = new Promise((_resolve, reject) => (end = () => reject(this.signal.reason)));
        if (this.signal.aborted)
            end();
        this.signal.addEventListener("abort", end);
        try {
            return await Promise.race([step, aborted]);
        }
        finally {
            this.signal.removeEventListener("abort", end);
        }
    }
    /** Abort whatever is still running. */
    end() {
        this.#outer?.removeEventListener("abort", this.#giveUp);
        this.#controller.abort();
    }
}
