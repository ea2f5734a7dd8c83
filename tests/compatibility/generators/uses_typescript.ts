// Uses the types that openapi-typescript has made: enqueues a job and reads it.
import createClient from "openapi-fetch";

import type { paths } from "./made.js";

declare const process: { argv: string[] };

const [, , baseUrl = "", modelHash = ""] = process.argv;
const client = createClient<paths>({ baseUrl });
const { data: enqueued } = await client.POST("/api/thumbnail-jobs", { body: { modelId: 7, modelHash, priority: 5 } });
if (!enqueued?.jobId) throw new Error("not enqueued");
const { data: job } = await client.GET("/api/thumbnail-jobs/{jobId}", { params: { path: { jobId: enqueued.jobId } } });
const { error } = await client.GET("/api/thumbnail-jobs/{jobId}", { params: { path: { jobId: enqueued.jobId + 1 } } });
const picture = await client.GET("/models/{modelId}/thumbnail/file", { params: { path: { modelId: 7 } }, parseAs: "blob" });
console.log(JSON.stringify([enqueued.outcome, job?.modelId, job?.priority, job?.status, error?.code, picture.response.status]));
