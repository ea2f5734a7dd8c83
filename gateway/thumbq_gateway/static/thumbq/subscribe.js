// Generated from clients/typescript/src/subscribe.ts by `make typescript`. Change it there.
import { gatewayAddress } from "./addresses.js";
import { Listener } from "./listener.js";
/** Delivers each change of a thumbnail at least once and in order, through every interruption of the network. */
export function subscribe(options) {
    return new Listener(gatewayAddress(options.url), options, () => Promise.resolve(options.after ?? "latest"));
}
