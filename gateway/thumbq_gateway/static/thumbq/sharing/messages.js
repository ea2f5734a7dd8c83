// Generated from clients/typescript/src/sharing/messages.ts by `make typescript`. Change it there.
/** Return the channel of all tabs that listen to this gateway. */
export function openChannel(gateway) {
    return new BroadcastChannel(`thumbq ${gateway.href}`);
}
