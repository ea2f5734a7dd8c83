// Generated from clients/typescript/src/patience.ts by `make typescript`. Change it there.
/** Aborts what takes too long, and what nobody wants any more. */
export class Patience {
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
    /** Waits so many milliseconds, at most, for a step that heeds the signal. */
    async wait(milliseconds, step) {
        const timer = setTimeout(() => {
            this.#controller.abort(new DOMException(`Nothing came for ${milliseconds} ms.`, "TimeoutError"));
        }, milliseconds);
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
