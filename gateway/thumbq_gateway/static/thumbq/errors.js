// Generated from clients/typescript/src/errors.ts by `make typescript`. Change it there.
const temporary = new Set([404, 408, 425, 429]); // a later attempt may succeed, as after any 5xx
/** A request that the gateway refused or could not serve. */
export class ThumbqError extends Error {
    httpStatus;
    code;
    retryAfter;
    name = "ThumbqError";
    constructor(message, 
    /** The HTTP status. */
    httpStatus, 
    /** The name of the google.rpc.Code, such as "NOT_FOUND"; missing in the three documented worker routes. */
    code, 
    /** Seconds to wait before the next attempt, if the gateway named them. */
    retryAfter) {
        super(message);
        this.httpStatus = httpStatus;
        this.code = code;
        this.retryAfter = retryAfter;
    }
    /** Whether the gateway would refuse the same request again at any later time. */
    get isFinal() {
        return this.httpStatus >= 400 && this.httpStatus < 500 && !temporary.has(this.httpStatus);
    }
}
/** Make the error of an HTTP answer other than 2xx. */
export async function errorOf(response) {
    const text = await response.text();
    const { message, code } = explained(text);
    const retryAfter = Number(response.headers.get("Retry-After") ?? NaN);
    return new ThumbqError(message || `${response.status} ${response.statusText}`.trim(), response.status, code, Number.isFinite(retryAfter) ? retryAfter : undefined);
}
function explained(text) {
    try {
        const { message, error, status } = JSON.parse(text);
        return { message: message ?? error ?? text, code: status };
    }
    catch {
        return { message: text, code: undefined };
    }
}
