// Generated from clients/typescript/src/sharing/presence.ts by `make typescript`. Change it there.
/** Be present under a name until the signal is aborted or the page is gone, and call back once that can be seen. */
export function whilePresent(name, signal, callback) {
    return locked(name, signal, () => {
        callback();
        return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
    });
}
/** Call back when nobody is present under a name any more, for instance because a page has crashed. */
export function whenGone(name, signal, callback) {
    return locked(name, signal, callback);
}
/** Call back with the lock of a name, unless the signal is aborted before. The browser takes the locks of lost pages. */
async function locked(name, signal, callback) {
    try {
        await navigator.locks.request(`thumbq ${name}`, { signal }, () => (signal.aborted ? undefined : callback()));
    }
    catch {
        // The signal was aborted, or the page is on its way out.
    }
}
