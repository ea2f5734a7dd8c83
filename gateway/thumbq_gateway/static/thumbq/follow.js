// Generated from clients/typescript/src/follow.ts by `make typescript`. Change it there.
import { gatewayAddress } from "./addresses.js";
import { Follower } from "./follower.js";
import { Listener } from "./listener.js";
/** Report the state of models and each change: load, subscribe, and reload when events are missing. */
export function follow(options) {
    const gateway = gatewayAddress(options.url);
    const follower = new Follower(gateway, options);
    const listener = new Listener(gateway, {
        ...options,
        modelIds: [],
        onThumbnail: (notification, cursor) => follower.hear(notification, cursor),
        onReset: (_reset, signal) => follower.reload(signal),
    }, follower);
    return {
        add: (...modelIds) => follower.add(modelIds) && listener.refresh(),
        remove: (...modelIds) => follower.remove(modelIds) && listener.refresh(),
        close: () => listener.close(),
        closed: listener.closed,
        get cursor() {
            return listener.cursor;
        },
    };
}
