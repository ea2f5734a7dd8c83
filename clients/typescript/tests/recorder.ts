import type { ConnectionState, Cursor, Notification, QueueSnapshot, Reset } from "thumbq";

/** Records what a subscription calls, and lets a test wait for it. */
export class Recorder {
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

  /** Let each waiting test check its condition again. */
  changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const look of waiting) look();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Wait for this state. */
  state(state: ConnectionState): Promise<void> {
    return this.until(() => this.states.at(-1) === state);
  }

  /** Wait until at least `count` notifications have come. */
  count(count: number): Promise<void> {
    return this.until(() => this.notifications.length >= count);
  }
}
