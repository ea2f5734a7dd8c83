import type { ConnectionState, Cursor, Notification, QueueSnapshot, Reset } from "thumbq";

/** Listens, and lets a test wait for what it wants to hear. */
export class Hearing {
  readonly notifications: Notification[] = [];
  readonly cursors: Cursor[] = [];
  readonly states: ConnectionState[] = [];
  readonly resets: Reset[] = [];
  readonly snapshots: QueueSnapshot[] = [];
  #waiting: (() => void)[] = [];

  readonly onThumbnail = (notification: Notification, cursor: Cursor): void => {
    this.notifications.push(notification);
    this.cursors.push(cursor);
    this.changed();
  };

  readonly onReset = (reset: Reset): void => {
    this.resets.push(reset);
    this.changed();
  };

  readonly onConnection = (state: ConnectionState): void => {
    this.states.push(state);
    this.changed();
  };

  readonly onQueue = (snapshot: QueueSnapshot): void => {
    this.snapshots.push(snapshot);
    this.changed();
  };

  get models(): number[] {
    return this.notifications.map(({ modelId }) => modelId);
  }

  /** Lets those who wait look again. */
  changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const look of waiting) look();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Waits until this is the state. */
  state(state: ConnectionState): Promise<void> {
    return this.until(() => this.states.at(-1) === state);
  }

  /** Waits until so many notifications have come. */
  count(count: number): Promise<void> {
    return this.until(() => this.notifications.length >= count);
  }
}
