// The contract's errors, and those that only a client meets.

import type { CallError } from "./types.js";
import type { WireError } from "./wire.js";

/** What a promise of this package rejects with. */
export class CallFailure extends Error implements CallError {
  readonly code: string;
  readonly retryable: boolean;
  readonly field?: string;
  readonly retryAfter?: number;

  constructor({ message, ...rest }: CallError) {
    super(message);
    this.name = "CallFailure";
    this.code = rest.code;
    this.retryable = rest.retryable;
    if (rest.field !== undefined) this.field = rest.field;
    if (rest.retryAfter !== undefined) this.retryAfter = rest.retryAfter;
  }
}

export function fromWire({ retry_after, ...error }: WireError): CallError {
  return retry_after === undefined ? error : { ...error, retryAfter: retry_after };
}

export const offline: CallError = {
  code: "unavailable",
  message: "There is no connection to the server.",
  retryable: true,
};
export const tooLarge: CallError = {
  code: "too_large",
  message: "This message is too long.",
  retryable: false,
  field: "content",
};
export const closed: CallError = {
  code: "unavailable",
  message: "The client was closed.",
  retryable: false,
};
