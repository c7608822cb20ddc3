export { connect } from "./client.js";
export { CallFailure } from "./errors.js";
export type * from "./types.js";
