import type { Frame } from "../network/event_stream.js";
import type { StreamRequest } from "../network/stream_request.js";

/** The parts of an error that reach another tab. */
export interface SharedError {
  message: string;
  httpStatus?: number | undefined;
  code?: string | undefined;
  retryAfter?: number | undefined;
}

/** What tabs say to each other. `from` is a leader, `member` is one subscription. */
export type Message =
  | { type: "leading"; from: string } // a tab has become the leader: join it
  | { type: "join"; member: string; request: StreamRequest; silence: number }
  | { type: "leave"; member: string }
  | { type: "change"; member: string; modelIds: readonly number[] }
  | { type: "changed"; from: string; member: string } // every later event of its models reaches the member
  | { type: "admitted"; from: string; member: string; frames: Frame[] } // what follows is complete for this member
  | { type: "frame"; from: string; frame: Frame }
  | { type: "ended"; from: string; error: SharedError };

/** Return the name of the lock and the channel that all tabs of this gateway share. Its number is that of Message. */
export function meetingPlace(gateway: URL): string {
  return `thumbq 2 ${gateway.href}`; // a page of version 1 holds no lock of its own, and would count as gone
}

/** Return the channel of all tabs that listen to this gateway. */
export function openChannel(gateway: URL): BroadcastChannel {
  return new BroadcastChannel(meetingPlace(gateway));
}
