// Generated from clients/typescript/src/subscribe.ts by `make typescript`. Change it there.
import { gatewayAddress } from "./addresses.js";
import { Listener } from "./listener.js";
import { Credentials } from "./network/credentials.js";
/** Delivers each change of a thumbnail at least once and in order, through every interruption of the network. */
export function subscribe(options) {
    const gateway = gatewayAddress(options.url);
    const start = () => Promise.resolve(options.after ?? "latest");
    return new Listener(gateway, new Credentials(gateway, options), options, start);
}
/** Report the counters of the whole queue and nothing of any model, which costs a busy queue next to nothing. */
export function watchQueue(options) {
    const gateway = gatewayAddress(options.url);
    return new Listener(gateway, new Credentials(gateway, options), options, () => Promise.resolve("latest"));
}
