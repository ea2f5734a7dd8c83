export { Thumbq, type CallOptions } from "./api.js";
export { ThumbqError } from "./errors.js";
export { follow, type FollowOptions, type ModelThumbnail } from "./follow.js";
export {
  subscribe,
  type ConnectionOptions,
  type ConnectionState,
  type SubscribeOptions,
  type Subscription,
} from "./subscribe.js";
export type * from "./types.js";
