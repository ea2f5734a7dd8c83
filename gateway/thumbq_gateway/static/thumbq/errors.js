// Generated from clients/typescript/src/errors.ts by `make typescript`. Change it there.
const passing = new Set([404, 408, 425, 429]); // these may be gone in a minute, as all of 5xx
/** The gateway's answer when it refuses, or cannot serve, a request. */
export class ThumbqError extends Error {
    httpStatus;
    code;
    retryAfter;
    name = "ThumbqError";
    constructor(message, 
    /** The status of the HTTP answer. */
    httpStatus, 
    /** The word of google.rpc.Code, such as "NOT_FOUND"; the three documented worker routes name none. */
    code, 
    /** Seconds after which to ask again, when the gateway named them. */
    retryAfter) {
        super(message);
        this.httpStatus = httpStatus;
        this.code = code;
        this.retryAfter = retryAfter;
    }
    /** Whether the same request would be refused again, however long one waits. */
    get isFinal() {
        return this.httpStatus >= 400 && this.httpStatus < 500 && !passing.has(this.httpStatus);
    }
}
/** The error that an HTTP answer other than 2xx stands for. */
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
