import { useEffect, useRef, useState } from "react";

import type { Access } from "./network/credentials.js";
import { follow, type Following, type ModelThumbnail } from "./follow.js";

/**
 * The present thumbnails of models, by model; a component that uses it is drawn again after each change. The list may
 * be another one each time: what stays in it misses nothing.
 *
 * @param url the gateway; a page that the gateway serves can leave it out
 * @param access an API key, or a function that fetches a ticket; a page that has signed in needs neither
 */
export function useThumbnails(
  modelIds: readonly number[],
  url?: string,
  access: Access = {},
): ReadonlyMap<number, ModelThumbnail> {
  const latest = useRef(access);
  latest.current = access;
  const { apiKey } = access;
  const hasTicket = access.ticket !== undefined;
  const [shown, setShown] = useState<ReadonlyMap<number, ModelThumbnail>>(new Map());
  const following = useRef<Following>(null);
  const followed = useRef(new Set<number>());
  const key = [...new Set(modelIds)].sort((one, other) => one - other).join();

  const open = (): void => {
    const opened = follow({
      ...(url !== undefined && { url }),
      apiKey,
      ticket: hasTicket ? () => latest.current.ticket?.() ?? "" : undefined,
      modelIds: [],
      onThumbnail: (thumbnail) => setShown((before) => new Map(before).set(thumbnail.modelId, thumbnail)),
    });
    opened.closed.catch((error: unknown) => {
      console.error("thumbq: the gateway refuses the models of this component", error);
      opened.close();
      if (following.current === opened) following.current = null;
    });
    following.current = opened;
    followed.current = new Set();
  };

  useEffect(() => {
    open();
    return () => {
      following.current?.close();
      setShown(new Map());
    };
  }, [url, apiKey, hasTicket]);

  useEffect(() => {
    if (following.current === null) open(); // the one before was refused, and the reader may have signed in meanwhile
    const wanted = new Set(key === "" ? [] : key.split(",").map(Number));
    const removed = [...followed.current].filter((modelId) => !wanted.has(modelId));
    if (wanted.size > 0) following.current?.add(...wanted);
    if (removed.length > 0) following.current?.remove(...removed);
    followed.current = wanted;
    // Those of a following that was refused are among them.
    setShown((before) => {
      const kept = [...before].filter(([modelId]) => wanted.has(modelId));
      return kept.length === before.size ? before : new Map(kept);
    });
  }, [url, apiKey, hasTicket, key]);

  return shown;
}
