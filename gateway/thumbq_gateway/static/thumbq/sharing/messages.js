// Generated from clients/typescript/src/sharing/messages.ts by `make typescript`. Change it there.
/** Return the name of the lock and the channel that all tabs of this gateway share. Its number is that of Message. */
export function meetingPlace(gateway) {
    return `thumbq 2 ${gateway.href}`; // a page of version 1 holds no lock of its own, and would count as gone
}
/** Return the channel of all tabs that listen to this gateway. */
export function openChannel(gateway) {
    return new BroadcastChannel(meetingPlace(gateway));
}
