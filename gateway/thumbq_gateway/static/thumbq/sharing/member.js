// Generated from clients/typescript/src/sharing/member.ts by `make typescript`. Change it there.
import { ThumbqError } from "../errors.js";
import { areOfTwoLogs, isEarlier, isReset } from "./cursors.js";
import { openChannel } from "./messages.js";
import { whilePresent } from "./presence.js";
const patience = 5_000; // milliseconds; the leader notices a silent connection first
const longestQueue = 10_000; // frames that wait for a slow reader
/** One subscription that hears what the leader passes on, from its own position on. */
export class Member {
    #id = crypto.randomUUID();
    #channel;
    #request;
    #silence;
    #frames = [];
    #models;
    #position;
    #stay = new AbortController();
    #isPresent = false; // so that the leader counts on it
    #isChanging = false; // the leader has yet to answer
    #leader;
    #error;
    #wake = () => undefined;
    #changed = () => undefined;
    constructor(gateway, request, silence, signal) {
        this.#channel = openChannel(gateway);
        this.#request = request;
        this.#silence = silence;
        this.#position = request.after;
        this.#models = new Set(request.modelIds);
        signal.addEventListener("abort", () => this.#wake(), { once: true });
        this.#channel.addEventListener("message", ({ data }) => this.#hear(data));
    }
    /** Take part in what the tabs share, until `leave`. The leader knows by a lock that the page is still there. */
    enter() {
        this.#stay.abort();
        const { signal } = (this.#stay = new AbortController());
        void whilePresent(this.#id, signal, () => this.#join());
    }
    /** Take no part for now. */
    leave() {
        this.#stay.abort();
        this.#isPresent = false;
        this.#leader = undefined;
        this.#say({ type: "leave", member: this.#id });
    }
    /** Take part no more. */
    close() {
        this.#changed();
        this.leave();
        this.#channel.close();
        this.#wake();
    }
    #join() {
        this.#isPresent = true;
        const request = { ...this.#request, after: this.#position };
        this.#leader = undefined;
        this.#say({ type: "join", member: this.#id, request, silence: this.#silence });
        if (this.#isChanging)
            this.#sayChange();
    }
    /** Want other models. Fulfilled when every later event of them arrives. */
    async changeModels(modelIds) {
        this.#models = new Set(modelIds);
        this.#request = { ...this.#request, modelIds };
        await new Promise((resolve) => {
            this.#changed(); // the answer to this change holds for the ones before as well
            this.#changed = resolve;
            this.#isChanging = true;
            if (this.#isPresent)
                this.#sayChange(); // otherwise once it has joined
        });
        return true;
    }
    /** Return the next frame; undefined when nothing came for the time of silence. Throws what ended the stream. */
    async next() {
        if (this.#frames.length === 0 && !this.#error) {
            await new Promise((resolve) => {
                const timer = setTimeout(resolve, this.#silence + patience);
                this.#wake = () => {
                    clearTimeout(timer);
                    resolve();
                };
            });
        }
        const frame = this.#frames.shift();
        if (frame === undefined && this.#error)
            throw this.#error;
        return frame;
    }
    #hear(message) {
        if (message.type === "leading") {
            this.#answered(); // the new leader replays what came after this member's position
            if (this.#isPresent)
                this.#join();
        }
        else if (message.type === "changed") {
            if (message.member === this.#id)
                this.#answered();
        }
        else if (message.type === "admitted") {
            if (message.member !== this.#id)
                return;
            this.#leader = message.from;
            this.#give(this.#position === "earliest" ? {} : { id: this.#position });
            for (const frame of message.frames)
                this.#take(frame);
        }
        else if ("from" in message && message.from === this.#leader) {
            if (message.type === "frame")
                this.#take(message.frame);
            else
                this.#fail(errorIn(message.error));
        }
        else if (message.type === "ended" && this.#leader === undefined) {
            this.#fail(errorIn(message.error)); // the connection that was made for this member failed
        }
    }
    #take(frame) {
        const wanted = this.#wanted(frame);
        this.#position = wanted.id ?? this.#position;
        this.#give(wanted);
    }
    #give(frame) {
        this.#frames.push(frame);
        if (this.#frames.length > longestQueue)
            this.#fail(new Error("This tab is too slow for the stream."));
        this.#wake();
    }
    /** Return the frame as this subscription alone would get it: without the event if it is not for it. */
    #wanted(frame) {
        const { id, event, data = "", ...rest } = frame;
        // One stream serves the tabs of several logs. The gateway resets those alone whose position it begins at.
        const isOfAnother = id !== undefined && this.#request.thumbnails && areOfTwoLogs(this.#position, id);
        if (isOfAnother && event !== "reset")
            return resetAt(id);
        const bare = id !== undefined && this.#isNew(id) ? { ...rest, id } : rest;
        if (event === undefined)
            return bare;
        if (event === "reset")
            return this.#request.thumbnails && isReset(this.#position, JSON.parse(data)) ? frame : bare;
        if (event === "thumbnail")
            return id !== undefined && this.#isNew(id) && this.#passes(data) ? frame : bare;
        if (event === "progress")
            return this.#request.progress && this.#isOfModels(data) ? frame : bare;
        if (!this.#request.queue)
            return bare;
        return { ...bare, event, data };
    }
    #isNew(id) {
        return isEarlier(this.#position, id);
    }
    #passes(data) {
        const { statuses, thumbnails } = this.#request;
        if (!thumbnails)
            return false;
        if (this.#models.size === 0 && statuses.length === 0)
            return true;
        const { status } = JSON.parse(data);
        return this.#isOfModels(data) && (statuses.length === 0 || statuses.includes(status));
    }
    #isOfModels(data) {
        return this.#models.size === 0 || this.#models.has(JSON.parse(data).modelId);
    }
    #fail(error) {
        this.#error = error;
        this.#changed();
        this.#wake();
    }
    #answered() {
        this.#isChanging = false;
        this.#changed();
    }
    #sayChange() {
        this.#say({ type: "change", member: this.#id, modelIds: this.#request.modelIds });
    }
    #say(message) {
        this.#channel.postMessage(message);
    }
}
function resetAt(cursor) {
    const reset = { cursor, reason: "OtherLog" };
    return { id: cursor, event: "reset", data: JSON.stringify(reset) };
}
function errorIn({ message, httpStatus, code, retryAfter }) {
    return httpStatus === undefined ? new Error(message) : new ThumbqError(message, httpStatus, code, retryAfter);
}
