/** Where a job is in its life. */
export type JobStatus = "Pending" | "Processing" | "Completed" | "Failed" | "Cancelled";

/** What a page can show for a model. */
export type ThumbnailStatus = "None" | "Pending" | "Processing" | "Ready" | "Failed";

/** What an enqueue found: a new job, one under way or done, or one that now starts anew. */
export type EnqueueOutcome = "Created" | "Existing" | "Reset";

/** Why a result was not simply taken. "AlreadyDone" is as good as taken. */
export type ResultCode = "AlreadyDone" | "Stale" | "Invalid";

/** A moment as RFC 3339, such as "2026-11-23T14:19:09.836482Z". */
export type Timestamp = string;

/** A time span in seconds. */
export type Seconds = number;

/** A place in the log of notifications, such as "532ea9ad-1". */
export type Cursor = string;

/** A request for the thumbnail of one model. */
export interface Job {
  /** Unique and never reused. Beyond 2⁵³ the gateway sends a string. */
  id: number;
  modelId: number;
  /** SHA-256 of the model file, 64 lower-case hexadecimal digits. */
  modelHash: string;
  status: JobStatus;
  /** How often the job was claimed, this attempt included. */
  attemptCount: number;
  createdAt: Timestamp;
  updatedAt: Timestamp;
  assetType: string;
  /** 0 to 9, higher first. */
  priority: number;
  maxAttempts: number;
  /** Proof of the lease, to send back with the result; empty but in answers to a claim. */
  leaseToken: string;
  leaseExpiresAt?: Timestamp;
  /** Pending: not handed out before. */
  runAt?: Timestamp;
  /** Processing: who holds the lease. */
  workerId?: string;
  /** Why the last attempt failed. */
  errorMessage?: string;
  finishedAt?: Timestamp;
}

/** The picture of a model as it is now. */
export interface Thumbnail {
  status: ThumbnailStatus;
  fileUrl: string | null;
  sizeBytes: number | null;
  width: number | null;
  height: number | null;
  errorMessage: string | null;
  createdAt: Timestamp | null;
  processedAt: Timestamp | null;
  /** Where the log of notifications stood when this was read. */
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
  /** From the test route. */
  test?: true;
}

/** Why a subscription could not go on from where it was. */
export type ResetReason = "TooOld" | "OtherLog" | "Future" | "Malformed";

/** There is a hole before this place in the log. */
export interface Reset {
  /** Where the subscription goes on. */
  cursor: Cursor;
  reason: ResetReason;
}

/** Counters of the queue, and what is being worked on. Each one is complete. */
export interface QueueSnapshot {
  pending: number;
  processing: number;
  completed: number;
  failed: number;
  cancelled: number;
  /** The jobs under way that were claimed last, 100 at most. */
  rendering: Rendering[];
  timestamp: Timestamp;
}

/** A job that a worker holds. */
export interface Rendering {
  modelId: number;
  jobId: number;
  workerId: string;
  attemptCount: number;
  claimedAt: Timestamp;
}

/** What to enqueue. */
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
  /** Not before so long from now. */
  delay?: Seconds;
}

export interface Enqueued {
  jobId: number;
  outcome: EnqueueOutcome;
}

export interface Claim {
  /** 1 to 100 characters. */
  workerId: string;
  /** How long to wait for a job, at most 30; default 0. */
  wait?: Seconds;
}

export interface BatchClaim extends Claim {
  /** 1 (default) to 100. */
  maxJobs?: number;
}

/** The picture is there. */
export interface Picture {
  /** Absolute path of the file, at most 500 characters, without "..". */
  thumbnailPath: string;
  sizeBytes: number;
  /** Pixels. */
  width: number;
  height: number;
}

/** The attempt failed. */
export interface Failure {
  /** Not blank. */
  errorMessage: string;
  /** False: do not try again, whatever attempts are left. */
  retryable?: boolean;
  /** Time until the next attempt, instead of the queue's back-off. */
  retryDelay?: Seconds;
}

/** The lease under which a result is reported; with it nobody's work can be overwritten by mistake. */
export interface Leased {
  leaseToken?: string;
}

/** What a report did to the model. */
export interface Reported {
  modelId: number;
  status: ThumbnailStatus;
  message: string;
}

/** A report on one job of a batch: complete, failed, or given back. */
export type Result = { leaseToken: string } & (
  | { complete: Picture }
  | { fail: Failure }
  | { release: Record<string, never> }
);

export interface ResultException {
  leaseToken: string;
  code: ResultCode;
  message: string;
}

/** Which jobs to list; all that is left out is not asked for. */
export interface JobFilter {
  status?: JobStatus;
  modelId?: number;
  /** 1 to 1000, default 100. */
  pageSize?: number;
  /** From the page before. */
  pageToken?: string;
}

export interface JobPage {
  jobs: Job[];
  /** Empty on the last page. */
  nextPageToken: string;
  /** Where the log of notifications stood before this page was read: subscribe from that of the first page. */
  cursor: Cursor;
}
