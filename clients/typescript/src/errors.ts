const temporary = new Set([404, 408, 425, 429]); // a later attempt may succeed, as after any 5xx

/** A request that the gateway refused or could not serve. */
export class ThumbqError extends Error {
  override readonly name = "ThumbqError";

  constructor(
    message: string,
    /** The HTTP status. */
    readonly httpStatus: number,
    /** The name of the google.rpc.Code, such as "NOT_FOUND"; missing in the three documented worker routes. */
    readonly code?: string,
    /** Seconds to wait before the next attempt, if the gateway named them. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }

  /** Whether the gateway would refuse the same request again at any later time. */
  get isFinal(): boolean {
    return this.httpStatus >= 400 && this.httpStatus < 500 && !temporary.has(this.httpStatus);
  }
}

/** Make the error of an HTTP answer other than 2xx. */
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
