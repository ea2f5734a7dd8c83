// Generated from clients/typescript/src/index.ts by `make typescript`. Change it there.
export { Thumbq } from "./api.js";
export { ThumbqError } from "./errors.js";
export { follow } from "./follow.js";
export { subscribe, watchQueue } from "./subscribe.js";
