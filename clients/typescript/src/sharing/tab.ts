import { isVisible, onVisibility } from "../network/visibility.js";
import { Leader } from "./leader.js";
import { meetingPlace } from "./messages.js";

/** This tab among those that listen to the same gateway. While it is visible, it stands ready to lead them. */
export class Tab {
  static readonly #tabs = new Map<string, Tab>();
  readonly #gateway: URL;
  #members = 0;
  #candidacy: AbortController | undefined;
  #stopWatching: () => void = () => undefined;

  private constructor(gateway: URL) {
    this.#gateway = gateway;
  }

  static of(gateway: URL): Tab {
    const tab = Tab.#tabs.get(gateway.href) ?? new Tab(gateway);
    Tab.#tabs.set(gateway.href, tab);
    return tab;
  }

  /** Count one subscription more. */
  enter(): void {
    this.#members += 1;
    if (this.#members === 1) this.#stopWatching = onVisibility(() => this.#update());
    this.#update();
  }

  /** Count one subscription less. */
  leave(): void {
    this.#members -= 1;
    if (this.#members === 0) this.#stopWatching();
    this.#update();
  }

  /** Take the lead from a tab that passes nothing on, for instance because its script hangs. */
  takeOver(): void {
    if (!isVisible()) return;
    this.#candidacy?.abort();
    this.#stand({ steal: true });
  }

  #update(): void {
    const isReady = this.#members > 0 && isVisible();
    if (isReady && !this.#candidacy) this.#stand({});
    if (!isReady) this.#candidacy?.abort();
  }

  #stand(options: LockOptions): void {
    const candidacy = (this.#candidacy = new AbortController());
    const { signal } = candidacy;
    const lead = (): Promise<void> => (signal.aborted ? Promise.resolve() : new Leader(this.#gateway).run(signal));
    // A lock cannot be stolen and be waited for at once.
    const chosen = options.steal ? options : { signal };
    const ended = (): void => {
      candidacy.abort(); // another tab may have taken the lead
      if (this.#candidacy !== candidacy) return;
      this.#candidacy = undefined;
      this.#update();
    };
    navigator.locks.request(meetingPlace(this.#gateway), chosen, lead).then(ended, ended);
  }
}
