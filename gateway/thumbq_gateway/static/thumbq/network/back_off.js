// Generated from clients/typescript/src/network/back_off.ts by `make typescript`. Change it there.
const firstPause = 1_000; // milliseconds, unless the gateway names another
/** Pauses between attempts to connect. They grow, and jitter spreads the clients. */
export class BackOff {
    #longest;
    #base = firstPause;
    #failures = 0;
    /** @param longest milliseconds */
    constructor(longest) {
        this.#longest = longest;
    }
    /** Return the next pause in milliseconds, up to a fifth longer or shorter than planned. */
    next() {
        const pause = Math.min(this.#longest, this.#base * 2 ** this.#failures);
        this.#failures += 1;
        return pause * (0.8 + 0.4 * Math.random());
    }
    /** @param base the first pause after the next failure, in milliseconds, as the gateway asks for it */
    succeeded(base = this.#base) {
        this.#base = base;
        this.#failures = 0;
    }
}
/** Wait. The pause ends early when the browser comes back online or the signal is aborted. */
export function pause(milliseconds, signal) {
    return new Promise((resolve) => {
        const done = () => {
            clearTimeout(timer);
            signal.removeEventListener("abort", done);
            globalThis.removeEventListener?.("online", done);
            resolve();
        };
        const timer = setTimeout(done, milliseconds);
        signal.addEventListener("abort", done);
        globalThis.addEventListener?.("online", done);
        if (signal.aborted)
            done();
    });
}
