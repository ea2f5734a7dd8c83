/** Return whether someone may see the page. Outside of a page, always. */
export function isVisible(): boolean {
  return (globalThis.document as Document | undefined)?.visibilityState !== "hidden";
}

/** Call back whenever the page is shown or hidden. Returns the function that ends this. */
export function onVisibility(callback: () => void): () => void {
  const page = globalThis.document as Document | undefined;
  page?.addEventListener("visibilitychange", callback);
  return () => page?.removeEventListener("visibilitychange", callback);
}

/** Wait until the page is visible or the signal is aborted. */
export function visible(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!isVisible() && !signal.aborted) return;
      stop();
      signal.removeEventListener("abort", look);
      resolve();
    };
    const stop = onVisibility(look);
    signal.addEventListener("abort", look);
    look();
  });
}
