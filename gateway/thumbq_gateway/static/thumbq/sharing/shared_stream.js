// Generated from clients/typescript/src/sharing/shared_stream.ts by `make typescript`. Change it there.
import { Thumbq } from "../api.js";
import { readStream } from "../network/stream.js";
import { changeModels, newStreamName, streamAddress } from "../network/stream_request.js";
import { isVisible, onVisibility, visible } from "../network/visibility.js";
import { isPosition } from "./cursors.js";
import { Member } from "./member.js";
import { Tab } from "./tab.js";
/** Read a stream. In a page without credentials, all tabs of the origin share one connection. A hidden one holds none. */
export async function* openStream(gateway, request, silence, signal, open, credentials) {
    // What one tab may see, another may not.
    if (credentials.areGiven || !(await canShare())) {
        yield* ownStream(gateway, request, silence, signal, open, credentials);
        return;
    }
    const after = await comparable(request, gateway, signal);
    if (isPosition(after))
        yield* sharedStream(gateway, { ...request, after }, silence, signal, open);
    else
        yield* ownStream(gateway, request, silence, signal, open, credentials);
}
/** Return where a stream begins, as all tabs understand it: each has a "latest" of its own. */
async function comparable({ after, thumbnails }, gateway, signal) {
    if (!thumbnails)
        return "earliest"; // it has no place in the log
    return after === "latest" ? new Thumbq({ url: gateway }).cursor({ signal }) : after;
}
/**
 * Return whether tabs can find one another. Web Locks are missing outside of pages, and in pages that come over plain
 * HTTP from another machine. They are refused in frames of a sandbox, and where a browser keeps nothing for a page.
 */
async function canShare() {
    const { document: page, navigator: browser, BroadcastChannel: channel } = globalThis;
    if (page === undefined || channel === undefined || browser?.locks === undefined)
        return false;
    try {
        await browser.locks.request("thumbq", { ifAvailable: true }, () => undefined);
        return true;
    }
    catch {
        return false;
    }
}
async function* sharedStream(gateway, request, silence, signal, open) {
    const member = new Member(gateway, request, silence, signal);
    open.changeModels = (modelIds) => member.changeModels(modelIds);
    const tab = Tab.of(gateway);
    const leave = () => member.leave();
    const rejoin = ({ persisted }) => {
        if (persisted)
            member.enter();
    };
    globalThis.addEventListener("pagehide", leave);
    globalThis.addEventListener("pageshow", rejoin);
    try {
        tab.enter();
        member.enter();
        while (!signal.aborted) {
            const frame = await member.next();
            if (frame !== undefined) {
                yield frame;
            }
            else if (!signal.aborted && isVisible()) {
                tab.takeOver();
                throw new Error("The tab that holds the connection passes nothing on.");
            }
        }
    }
    finally {
        globalThis.removeEventListener("pagehide", leave);
        globalThis.removeEventListener("pageshow", rejoin);
        member.close();
        tab.leave();
    }
}
/** Read a stream over a connection of this page alone, which it gives back while it is hidden. */
async function* ownStream(gateway, request, silence, signal, open, credentials) {
    let { after, modelIds } = request;
    while (!signal.aborted) {
        await visible(signal);
        if (signal.aborted)
            return;
        const connection = new AbortController();
        const end = () => connection.abort();
        const stop = onVisibility(() => !isVisible() && end());
        signal.addEventListener("abort", end);
        const name = newStreamName();
        const change = () => 
        // A hidden page asks for them when it connects again, from where it was.
        !isVisible() || changeModels(gateway, name, modelIds, connection.signal, credentials);
        let changes = Promise.resolve(true);
        open.changeModels = (changed) => {
            modelIds = changed;
            return (changes = changes.then(change)); // the last of two requests at once might arrive first
        };
        try {
            const { address, body } = streamAddress(gateway, name, { ...request, modelIds, after });
            for await (const frame of readStream(address, silence, connection.signal, credentials, body)) {
                after = frame.id ?? after;
                yield frame;
            }
            return;
        }
        catch (error) {
            if (isVisible() || signal.aborted)
                throw error;
        }
        finally {
            stop();
            signal.removeEventListener("abort", end);
        }
    }
}
