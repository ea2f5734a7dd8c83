// Generated from clients/typescript/src/patience.ts by `make typescript`. Change it there.
/** Aborts what takes too long, and what nobody wants any more. */
export class Patience {
    #milliseconds;
    #controller = new AbortController();
    #outer;
    #giveUp = () => this.#controller.abort(this.#outer?.reason);
    constructor(milliseconds, outer) {
        this.#milliseconds = milliseconds;
        this.#outer = outer;
        if (outer?.aborted)
            this.#giveUp();
        else
            outer?.addEventListener("abort", this.#giveUp);
    }
    get signal() {
        return this.#controller.signal;
    }
    /** Waits for one step, which must heed the signal; each step has the whole time for itself. */
    async wait(step) {
        const timer = setTimeout(() => {
            this.#controller.abort(new DOMException(`Nothing came for ${this.#milliseconds} ms.`, "TimeoutError"));
        }, this.#milliseconds);
        try {
            return await step;
        }
        finally {
            clearTimeout(timer);
        }
    }
    /** Lets go of everything that still goes on. */
    end() {
        this.#outer?.removeEventListener("abort", this.#giveUp);
        this.#controller.abort();
    }
}
