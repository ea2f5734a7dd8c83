import { env } from "node:process";

import { Thumbq } from "thumbq";

/** The gateway. */
export const url = env["THUMBQ_URL"] ?? "";
/** The gateway as well, over a line that can go dead. */
export const lineUrl = env["THUMBQ_LINE_URL"] ?? "";
/** The folder for the pictures of workers. */
export const folder = env["THUMBQ_FOLDER"] ?? "";

export const thumbq = new Thumbq({ url: url || "http://none.invalid" });

type Action =
  | "gateway/stop"
  | "gateway/start"
  | "gateway/start-for-one"
  | "server/stop"
  | "server/start"
  | "server/another-queue"
  | "line/dead"
  | "line/mended"
  | `announce/${number}`;

/** Do something to the service, and wait until it is done. */
export async function control(action: Action): Promise<void> {
  const response = await fetch(new URL(action, env["THUMBQ_CONTROL_URL"]), { method: "POST" });
  if (!response.ok) throw new Error(await response.text());
}

/** The hash of a model's file. */
export const hashOf = (modelId: number): string => modelId.toString(16).padStart(64, "0");

/** Make a ticket for these models, which lasts ten minutes. */
export async function ticketFor(...modelIds: number[]): Promise<string> {
  const response = await fetch(new URL("api/tickets", url), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ modelIds, life: "600s" }),
  });
  if (!response.ok) throw new Error(await response.text());
  return ((await response.json()) as { ticket: string }).ticket;
}
