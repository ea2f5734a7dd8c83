// Generated from clients/typescript/src/sharing/messages.ts by `make typescript`. Change it there.
/** Return the name under which all tabs meet that listen to this gateway. Its number is that of what they say. */
export function meetingPlace(gateway) {
    return `thumbq 2 ${gateway.href}`; // a page of an earlier version holds no lock, and would pass for one that is gone
}
/** Return the channel of all tabs that listen to this gateway. */
export function openChannel(gateway) {
    return new BroadcastChannel(meetingPlace(gateway));
}
