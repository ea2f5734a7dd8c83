export { Thumbq, type CallOptions } from "./api.js";
export { ThumbqError } from "./errors.js";
export { follow, type Following, type FollowOptions, type ModelThumbnail } from "./follow.js";
export { subscribe, watchQueue } from "./subscribe.js";
export type { Access } from "./network/credentials.js";
export type { ConnectionOptions, ConnectionState, SubscribeOptions, Subscription, WatchQueueOptions } from "./subscription.js";
export type * from "./types.js";
