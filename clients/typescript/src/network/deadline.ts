/** A signal that is aborted when a step takes too long, or when the caller's own signal is. */
export class Deadline {
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

  /** Wait for a step that listens to the signal; abort the signal after the given milliseconds. */
  async limit<T>(milliseconds: number, step: Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#controller.abort(new DOMException(`Nothing came for ${milliseconds} ms.`, "TimeoutError"));
    }, milliseconds);
    try {
      return await step;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Abort whatever is still running. */
  end(): void {
    this.#outer?.removeEventListener("abort", this.#giveUp);
    this.#controller.abort();
  }
}
