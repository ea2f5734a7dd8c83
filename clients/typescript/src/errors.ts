const passing = new Set([404, 408, 425, 429]); // these may be gone in a minute, as all of 5xx

/** The gateway's answer when it refuses, or cannot serve, a request. */
export class ThumbqError extends Error {
  override readonly name = "ThumbqError";

  constructor(
    message: string,
    /** The status of the HTTP answer. */
    readonly httpStatus: number,
    /** The word of google.rpc.Code, such as "NOT_FOUND"; the three documented worker routes name none. */
    readonly code?: string,
    /** Seconds after which to ask again, when the gateway named them. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }

  /** Whether the same request would be refused again, however long one waits. */
  get isFinal(): boolean {
    return this.httpStatus >= 400 && this.httpStatus < 500 && !passing.has(this.httpStatus);
  }
}

/** The error that an HTTP answer other than 2xx stands for. */
export async function errorOf(response: Response): Promise<ThumbqError> {
  const text = await response.text();
  const { message, code } = explained(text);
  const retryAfter = Number(response.headers.get("Retry-After") ?? NaN);
  return new ThumbqError(
    message || `${response.status} ${response.statusText}`.trim(),
    response.status,
    code,
    Number.isFinite(retryAfter) ? retryAfter : undefined,
  );
}

function explained(text: string): { message: string; code: string | undefined } {
  try {
    const { message, error, status } = JSON.parse(text) as Record<string, string | undefined>;
    return { message: message ?? error ?? text, code: status };
  } catch {
    return { message: text, code: undefined };
  }
}
