const firstPause = 1_000; // milliseconds, until the gateway names another

/** How long to wait before the next attempt to connect: longer each time, and never all clients at once. */
export class BackOff {
  readonly #longest: number;
  #base = firstPause;
  #failures = 0;

  /** @param longest milliseconds */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** The next pause in milliseconds; jitter makes it up to a fifth longer or shorter. */
  next(): number {
    const pause = Math.min(this.#longest, this.#base * 2 ** this.#failures);
    this.#failures += 1;
    return pause * (0.8 + 0.4 * Math.random());
  }

  /** @param base the gateway's wish for the next pause, in milliseconds */
  succeeded(base = this.#base): void {
    this.#base = base;
    this.#failures = 0;
  }
}

/** Waits, but not when the browser comes back online or nobody wants to wait any more. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      globalThis.removeEventListener?.("online", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
    globalThis.addEventListener?.("online", done);
    if (signal.aborted) done();
  });
}
