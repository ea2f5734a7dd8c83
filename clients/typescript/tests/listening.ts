import type { TestContext } from "node:test";

import { subscribe, type SubscribeOptions, type Subscription } from "thumbq";

import type { Recorder } from "./recorder.js";
import { url } from "./service.js";

export const pauses = { longestPause: 1_000 };

/** Subscribe until the end of the test. */
export function listen(t: TestContext, recorder: Recorder, options: Partial<SubscribeOptions> = {}): Subscription {
  const { onThumbnail, onReset, onConnection } = recorder;
  const subscription = subscribe({ url, onThumbnail, onReset, onConnection, ...pauses, ...options });
  t.after(() => subscription.close());
  return subscription;
}
