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

  /** Wait for a step; abort the signal after the given milliseconds. */
  async limit<T>(milliseconds: number, step: Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#controller.abort(new DOMException(`Nothing came for ${milliseconds} ms.`, "TimeoutError"));
    }, milliseconds);
    try {
      return await this.wait(step);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Wait for a step until the signal is aborted, also for one that does not listen to it. */
  async wait<T>(step: Promise<T>): Promise<T> {
    let end = (): void => undefined;
    const aborted = new Promise<never>((_resolve, reject) => (end = () => reject(this.signal.reason)));
    if (this.signal.aborted) end();
    this.signal.addEventListener("abort", end);
    try {
      return await Promise.race([step, aborted]);
    } finally {
      this.signal.removeEventListener("abort", end);
    }
  }

  /** Abort whatever is still running. */
  end(): void {
    this.#outer?.removeEventListener("abort", this.#giveUp);
    this.#controller.abort();
  }
}
