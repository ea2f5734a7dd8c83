/** Aborts what takes too long, and what nobody wants any more. */
export class Patience {
  readonly #milliseconds: number;
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #giveUp = (): void => this.#controller.abort(this.#outer?.reason);

  constructor(milliseconds: number, outer?: AbortSignal) {
    this.#milliseconds = milliseconds;
    this.#outer = outer;
    if (outer?.aborted) this.#giveUp();
    else outer?.addEventListener("abort", this.#giveUp);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Waits for one step, which must heed the signal; each step has the whole time for itself. */
  async wait<T>(step: Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#controller.abort(new DOMException(`Nothing came for ${this.#milliseconds} ms.`, "TimeoutError"));
    }, this.#milliseconds);
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
