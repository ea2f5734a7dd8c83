// Generated from clients/typescript/src/listener.ts by `make typescript`. Change it there.
import { runCallback } from "./callback.js";
import { ThumbqError } from "./errors.js";
import { BackOff, pause } from "./network/back_off.js";
import { openStream } from "./sharing/shared_stream.js";
const silence = 40_000; // milliseconds: two heartbeats may be lost
const longestPause = 30_000; // milliseconds
/** Keeps one subscription open over many connections. Each connection starts where the last one ended. */
export class Listener {
    closed;
    #gateway;
    #credentials;
    #options;
    #start;
    #needsModels;
    #modelIds;
    #backOff;
    #closing = new AbortController();
    #connection = new AbortController();
    #stream = {};
    #wake = () => undefined;
    #mustStart = false; // it had no models for a moment, and the present ones are to be loaded
    #position;
    #state;
    /**
     * @param start returns the first position; called until it succeeds
     * @param needsModels without any models, there is no connection; otherwise there are events of all models
     */
    constructor(gateway, credentials, options, start, needsModels = false) {
        this.#gateway = gateway;
        this.#credentials = credentials;
        this.#options = options;
        this.#start = start;
        this.#needsModels = needsModels;
        this.#modelIds = new Set(options.modelIds);
        this.#backOff = new BackOff(options.longestPause ?? longestPause);
        this.closed = Promise.resolve().then(() => this.#listen());
    }
    get cursor() {
        return this.#position?.includes("-") ? this.#position : undefined;
    }
    close() {
        this.#closing.abort();
        this.#connection.abort();
        this.#wake();
    }
    /** Want other models from now on. Fulfilled when every later event of them arrives. */
    async changeModels(modelIds) {
        this.#modelIds = new Set(modelIds);
        this.#mustStart ||= this.#isIdle;
        this.#wake();
        const connection = this.#connection; // one that comes meanwhile has asked for them itself
        if (!this.#isIdle && (await this.#stream.changeModels?.([...this.#modelIds])))
            return;
        connection.abort(); // the next one begins where this one is
    }
    get #isClosed() {
        return this.#closing.signal.aborted;
    }
    get #isIdle() {
        return this.#needsModels && this.#modelIds.size === 0;
    }
    async #listen() {
        while (!this.#isClosed) {
            if (this.#mustStart)
                this.#position = undefined;
            this.#mustStart = false;
            if (this.#isIdle) {
                await new Promise((resolve) => (this.#wake = resolve));
                continue;
            }
            if (this.#state === undefined)
                this.#setState("connecting");
            this.#connection = new AbortController();
            let leastPause = 0;
            try {
                this.#position ??= await this.#start(this.#closing.signal);
                if (await this.#connect(this.#position))
                    continue;
            }
            catch (error) {
                if (error instanceof ThumbqError && !this.#isClosed) {
                    if (error.isFinal)
                        throw error;
                    leastPause = (error.retryAfter ?? 0) * 1_000;
                }
            }
            finally {
                this.#stream = {};
            }
            if (this.#connection.signal.aborted)
                continue; // other models are wanted
            this.#setState("reconnecting");
            await pause(leastPause + this.#backOff.next(), this.#closing.signal);
        }
    }
    /** Follow one connection to its end. Returns true if the next connection may start at once. */
    async #connect(position) {
        const { statuses = [], onThumbnail, onQueue, onProgress } = this.#options;
        const has = (callback) => callback !== undefined;
        const also = { thumbnails: has(onThumbnail), queue: has(onQueue), progress: has(onProgress) };
        const request = { after: position, modelIds: [...this.#modelIds], statuses, ...also };
        const { signal } = this.#connection;
        const longest = this.#options.silence ?? silence;
        const frames = openStream(this.#gateway, request, longest, signal, this.#stream, this.#credentials);
        let isKnown = false; // whether the gateway has its server
        let hasEvent = !this.#options.onQueue; // with onQueue, the first event says whether the gateway has its server
        for await (const frame of frames) {
            if (signal.aborted)
                return false;
            this.#backOff.succeeded(frame.retry);
            if (frame.event === "reset") {
                const next = await this.#reset(frame);
                if (next !== undefined && next !== position) {
                    this.#position = next;
                    return true;
                }
            }
            else if (frame.data !== undefined) {
                await this.#deliver(frame, frame.data);
            }
            this.#position = frame.id ?? this.#position;
            hasEvent ||= frame.event !== undefined;
            isKnown ||= frame.event === "heartbeat";
            // With "latest", the subscription is live once it has a cursor: from then on it misses nothing.
            if (!isKnown && hasEvent && (!also.thumbnails || this.#position !== "latest")) {
                isKnown = true;
                this.#setState("live");
            }
        }
        return false;
    }
    async #deliver(frame, data) {
        const { onThumbnail, onQueue, onProgress } = this.#options;
        const content = JSON.parse(data);
        if (frame.event === "thumbnail") {
            const notification = content;
            if (!this.#wants(notification.modelId))
                return;
            await runCallback(() => onThumbnail?.(notification, frame.id ?? ""));
        }
        else if (frame.event === "queue") {
            await runCallback(() => onQueue?.(content));
        }
        else if (frame.event === "progress") {
            const progress = content;
            if (this.#wants(progress.modelId))
                await runCallback(() => onProgress?.(progress));
        }
        else if (frame.event === "heartbeat") {
            this.#setState(content.connected ? "live" : "away");
        }
    }
    #wants(modelId) {
        return (!this.#needsModels && this.#modelIds.size === 0) || this.#modelIds.has(modelId);
    }
    async #reset(frame) {
        try {
            const next = await this.#options.onReset?.(JSON.parse(frame.data ?? ""), this.#closing.signal);
            return typeof next === "string" ? next : undefined;
        }
        catch (error) {
            // The position stays as it is, so the next connection begins with the same reset.
            console.error("thumbq: the state could not be reloaded; thumbq will try again", error);
            throw new Error("not loaded", { cause: error });
        }
    }
    #setState(state) {
        if (state === this.#state || this.#isClosed)
            return;
        this.#state = state;
        void runCallback(() => this.#options.onConnection?.(state));
    }
}
