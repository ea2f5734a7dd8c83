// Generated from clients/typescript/src/network/visibility.ts by `make typescript`. Change it there.
/** Return whether someone may see the page. Outside of a page, always. */
export function isVisible() {
    return globalThis.document?.visibilityState !== "hidden";
}
/** Call back whenever the page is shown or hidden. Returns the function that ends this. */
export function onVisibility(callback) {
    const page = globalThis.document;
    page?.addEventListener("visibilitychange", callback);
    return () => page?.removeEventListener("visibilitychange", callback);
}
/** Wait until the page is visible or the signal is aborted. */
export function visible(signal) {
    return new Promise((resolve) => {
        const look = () => {
            if (!isVisible() && !signal.aborted)
                return;
            stop();
            signal.removeEventListener("abort", look);
            resolve();
        };
        const stop = onVisibility(look);
        signal.addEventListener("abort", look);
        look();
    });
}
