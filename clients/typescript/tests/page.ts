import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { follow, type Following, type FollowOptions, type ModelThumbnail } from "thumbq";

import { Recorder } from "./recorder.js";
import { folder, hashOf, thumbq, url } from "./service.js";

/** A page: the last state of each model, and every state in order. */
export class Page extends Recorder {
  readonly shown = new Map<number, ModelThumbnail>();
  readonly all: ModelThumbnail[] = [];

  readonly show = (thumbnail: ModelThumbnail): void => {
    this.shown.set(thumbnail.modelId, thumbnail);
    this.all.push(thumbnail);
    this.changed();
  };

  status(modelId: number, status: string): Promise<void> {
    return this.until(() => this.shown.get(modelId)?.status === status);
  }
}

/** Let a page follow models until the end of the test. */
export function open(t: TestContext, page: Page, modelIds: number[], options: Partial<FollowOptions> = {}): Following {
  const { show, onConnection } = page;
  const subscription = follow({ url, modelIds, onThumbnail: show, onConnection, longestPause: 1_000, ...options });
  t.after(() => subscription.close());
  return subscription;
}

/** Let a model get a picture with this content. */
export async function rendered(modelId: number, content: string): Promise<void> {
  await thumbq.enqueue({ modelId, modelHash: hashOf(modelId), force: true });
  const job = await thumbq.dequeue({ workerId: "worker-1", wait: 10 });
  assert.equal(job?.modelId, modelId);
  const thumbnailPath = join(folder, `${modelId}-${content}.png`);
  await writeFile(thumbnailPath, content);
  await thumbq.complete(job.id, { thumbnailPath, sizeBytes: content.length, width: 1, height: 1 });
}

export const fetched = async (address: string | undefined): Promise<string> => (await fetch(address ?? "")).text();
