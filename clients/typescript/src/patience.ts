/** Aborts what takes too long, and what nobody wants any more. */
export class Patience {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #giveUp = (): void => this.#controller.abort(this.#outer?.reason);

  constructor(outer?: AbortSignal) {
    this.#outer = outer;
    if (outer?.aborted) this.#giveUp();
    else outer?.addEventListener("abort", this.#giveUp);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Waits so many milliseconds, at most, for a step that heeds the signal. */
  async wait<T>(milliseconds: number, step: Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#controller.abort(new DOMException(`Nothing came for ${milliseconds} ms.`, "TimeoutError"));
    }, milliseconds);
    try {
      return await step;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Lets go of everything that still goes on. */
  end(): void {
    this.#outer?.removeEventListener("abort", this.#giveUp);
    this.#controller.abort();
  }
}
