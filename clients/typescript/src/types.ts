/** The state of a job. */
export type JobStatus = "Pending" | "Processing" | "Completed" | "Failed" | "Cancelled";

/** The state of a model's thumbnail. */
export type ThumbnailStatus = "None" | "Pending" | "Processing" | "Ready" | "Failed";

/** The result of an enqueue: a new job, an existing one, or one that was reset to start again. */
export type EnqueueOutcome = "Created" | "Existing" | "Reset";

/** Why a result was not simply accepted. "AlreadyDone": the same result was accepted before. */
export type ResultCode = "AlreadyDone" | "Stale" | "Invalid";

/** A time in RFC 3339, such as "2026-11-23T14:19:09.836482Z". */
export type Timestamp = string;

/** A duration in seconds. */
export type Seconds = number;

/** A position in the notification log, such as "532ea9ad-1". */
export type Cursor = string;

/** A request for the thumbnail of one model. */
export interface Job {
  /** Unique and never reused. Beyond 2⁵³ the gateway sends a string. */
  id: number;
  modelId: number;
  /** SHA-256 of the model file, 64 lower-case hexadecimal digits. */
  modelHash: string;
  status: JobStatus;
  /** How often the job was claimed, including the present attempt. */
  attemptCount: number;
  createdAt: Timestamp;
  updatedAt: Timestamp;
  /** The kind of the job: "Model" unless the producer named another. */
  assetType: string;
  /** 0 to 9, higher first. */
  priority: number;
  maxAttempts: number;
  /** Proof of the lease, to send back with the result. Set only in the answer to a claim. */
  leaseToken: string;
  leaseExpiresAt?: Timestamp;
  /** Pending: the earliest time of the next attempt. */
  runAt?: Timestamp;
  /** Processing: the worker that holds the lease. */
  workerId?: string;
  /** Why the last attempt failed. */
  errorMessage?: string;
  finishedAt?: Timestamp;
  /** The version of the model, when its producer named one. */
  modelVersionId?: number;
  /** What the producer wants the worker to know. */
  options?: Record<string, unknown>;
  /** Processing: how far the worker has come, 0 to 1, while it tells. Set where one job is read alone. */
  progress?: number;
  /** What the worker is doing. */
  progressText?: string;
  progressAt?: Timestamp;
  /** In the answer to a dequeue: the span that the attempt continues, when the job is traced. */
  traceParent?: string;
  /** The span of the attempt that failed before, to link to. */
  earlierAttempt?: string;
}

/** The present thumbnail of a model. */
export interface Thumbnail {
  status: ThumbnailStatus;
  fileUrl: string | null;
  sizeBytes: number | null;
  width: number | null;
  height: number | null;
  errorMessage: string | null;
  createdAt: Timestamp | null;
  processedAt: Timestamp | null;
  /** The head of the notification log when this was read. */
  cursor: Cursor;
}

/** The thumbnails of many models. */
export interface Thumbnails {
  thumbnails: (Omit<Thumbnail, "cursor"> & { modelId: number })[];
  /** The head of the notification log before they were read. */
  cursor: Cursor;
}

/** The thumbnail of a model changed its status. */
export interface Notification {
  modelId: number;
  /** 0 in a test notification. */
  jobId: number;
  status: ThumbnailStatus;
  /** Set with Ready. */
  thumbnailUrl: string | null;
  /** Set with Failed. */
  errorMessage: string | null;
  attemptCount: number;
  /** Failed: another attempt follows, not before `nextAttemptAt`. */
  willRetry: boolean;
  timestamp: Timestamp;
  nextAttemptAt?: Timestamp;
  /** Set in a notification of the test route. */
  test?: true;
}

/** How far a job under way has come, as its worker tells. */
export interface JobProgress {
  modelId: number;
  jobId: number;
  attemptCount: number;
  /** 0 to 1. */
  progress: number;
  /** What the worker is doing; "" when it said nothing. */
  progressText: string;
  progressAt: Timestamp;
}

/** Why a subscription could not continue from its cursor. */
export type ResetReason = "TooOld" | "OtherLog" | "Future" | "Malformed" | "UnknownStart";

/** Events before this cursor are missing. */
export interface Reset {
  /** The subscription continues here. */
  cursor: Cursor;
  reason: ResetReason;
}

/** The counters of the queue and its running jobs. Each snapshot is complete. */
export interface QueueSnapshot {
  pending: number;
  processing: number;
  completed: number;
  failed: number;
  cancelled: number;
  /** The 100 jobs in progress that were claimed last. */
  rendering: Rendering[];
  timestamp: Timestamp;
}

/** A job in progress. */
export interface Rendering {
  modelId: number;
  jobId: number;
  workerId: string;
  attemptCount: number;
  claimedAt: Timestamp;
}

/** A job to enqueue. */
export interface NewJob {
  modelId: number;
  /** SHA-256 of the model file: 64 hexadecimal digits. */
  modelHash: string;
  /** 0 (default) to 9, higher first. */
  priority?: number;
  /** 1 to 10, default 3. */
  maxAttempts?: number;
  /** Render again even if the picture is there. */
  force?: boolean;
  /** Time until the first attempt. */
  delay?: Seconds;
  /** The version of the model whose file this is. A version has a thumbnail of its own. */
  modelVersionId?: number;
  /** The kind of the job, for workers that name it; "Model" unless given. */
  assetType?: string;
  /** A JSON object of up to 4 KiB for the worker. */
  options?: Record<string, unknown>;
  /** A job that exists with other options starts again. */
  optionsMatter?: boolean;
  /** W3C Trace Context of the span that asks for the job. */
  traceParent?: string;
}

export interface Enqueued {
  jobId: number;
  outcome: EnqueueOutcome;
  /** Whether the server took the `assetType` and `options` of the job; an older one overlooks them. */
  kindsKnown?: boolean;
  /** How full the queue is, from 0 to 1; missing when it has no limit. From 1 on, it refuses jobs that add work. */
  pressure?: number;
}

export interface Claim {
  /** 1 to 100 characters. */
  workerId: string;
  /** Seconds to wait for a job: 0 (default) to 30. */
  wait?: Seconds;
  /** The kinds of jobs that the worker takes; "Model" alone unless given. */
  assetTypes?: string[];
}

export interface BatchClaim extends Claim {
  /** 1 (default) to 100. */
  maxJobs?: number;
}

/** A finished picture. */
export interface Picture {
  /** Absolute path of the file, at most 500 characters, without "..". */
  thumbnailPath: string;
  sizeBytes: number;
  /** Pixels. */
  width: number;
  height: number;
}

/** A failed attempt. */
export interface Failure {
  /** Not blank. */
  errorMessage: string;
  /** False: do not retry, even if attempts are left. */
  retryable?: boolean;
  /** Time until the next attempt; default: the queue's back-off. */
  retryDelay?: Seconds;
  /** W3C trace context of the attempt, which a later attempt then names as the one before. */
  traceParent?: string;
}

/** The lease of the reported job. With it, a late report cannot overwrite the work of another worker. */
export interface Leased {
  leaseToken?: string;
}

/** The effect of a report on the model. */
export interface Reported {
  modelId: number;
  status: ThumbnailStatus;
  message: string;
  modelVersionId?: number;
}

/** The result of one job in a batch: complete, failed, or released. */
export type Result = { leaseToken: string } & (
  | { complete: Picture }
  | { fail: Failure }
  | { release: Record<string, never> }
);

export interface ResultException {
  leaseToken: string;
  code: ResultCode;
  message: string;
  /** The job of the lease; 0 when the token is malformed, or was given before a backup was restored. */
  jobId: number;
}

/** Filters of a list of jobs. A missing field does not filter. */
export interface JobFilter {
  status?: JobStatus;
  modelId?: number;
  /** 1 to 1000, default 100. */
  pageSize?: number;
  /** `nextPageToken` of the previous page. */
  pageToken?: string;
}

export interface JobPage {
  jobs: Job[];
  /** Empty on the last page. */
  nextPageToken: string;
  /** The head of the notification log before this page was read. Subscribe from the first page's cursor. */
  cursor: Cursor;
}
