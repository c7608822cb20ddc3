// One call, until it is answered for good: repeated, always unchanged, while that may help.

import { CallFailure, fromWire, offline, tooLarge } from "./errors.js";
import type { CallError } from "./types.js";
import { MAX_PACKET_BYTES, type Calls, type WireError } from "./wire.js";

export type Name = keyof Calls;
export type Fields<N extends Name> = Calls[N]["fields"];
export type Answer<N extends Name> = Calls[N]["answer"];
/** As it comes over the wire. */
export type Acknowledgement = { ok: true } | { ok: false; error: WireError };

/** What calls go over. */
export interface Line {
  /** Whether a call may be made now. */
  readonly up: boolean;
  /** Why none will ever be made again; null while there is hope. */
  readonly end: CallError | null;
  /** One try. `done` is called once, within the acknowledgement; with null if none came. */
  emit(name: Name, fields: object, done: (answer: Acknowledgement | null) => void): void;
  /** Be told when `up` or `end` may have changed. */
  watch(listener: () => void): () => void;
}

export interface Rules {
  /** Whether to repeat after this error; by default what is retryable, and not merely `busy`. */
  again?: (error: CallError) => boolean;
  /** Give up after so many milliseconds. */
  patience?: number;
  /** Told of each error that leads to a repetition. */
  onTrouble?: (error: CallError) => void;
}

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 5000;
const PATIENCE = 15_000;
const PACKET_ROOM = 1000; // for what the protocols put around a call

const worthwhile = (error: CallError) => error.retryable && error.code !== "busy";

/**
 * Make a call. `done` is called within the acknowledgement, so that what it says is taken in before
 * the events that came with it, and never before this returns. Gives what ends it unanswered.
 */
export function call<N extends Name>(
  line: Line,
  name: N,
  fields: Fields<N>,
  done: (error: CallError | null, answer: Answer<N>) => void,
  { again = worthwhile, patience = Infinity, onTrouble }: Rules = {},
): () => void {
  let tries = 0;
  let over = false;
  let asking = false;
  let pause: ReturnType<typeof setTimeout> | undefined;
  let last: CallError = offline;
  const unwatch = line.watch(attempt);
  const limit = patience < Infinity ? setTimeout(() => finish(last), patience) : undefined;

  function cancel(): void {
    over = true;
    clearTimeout(pause);
    clearTimeout(limit);
    unwatch();
  }
  function finish(error: CallError | null, answer?: Answer<N>): void {
    cancel();
    done(error, answer as Answer<N>);
  }
  function attempt(): void {
    if (over || asking || pause !== undefined) return;
    if (line.end) {
      last = line.end;
      queueMicrotask(() => over || finish(last));
    } else if (line.up) {
      asking = true;
      tries += 1;
      line.emit(name, fields, answered);
    }
  }
  function answered(answer: Acknowledgement | null): void {
    asking = false;
    if (over) return;
    if (answer?.ok) return finish(null, answer as unknown as Answer<N>);
    const error = answer ? fromWire(answer.error) : offline;
    const isTooLong = (error.retryAfter ?? 0) * 1000 > patience;
    if (isTooLong || !again(error)) return finish(error);
    last = error;
    if (answer) onTrouble?.(error);
    if (over) return;
    // What is lost with a connection is repeated on the next one as soon as that stands.
    const backoff = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1)) * (0.5 + Math.random());
    pause = setTimeout(resume, line.up ? (error.retryAfter ?? backoff / 1000) * 1000 : 0);
  }
  function resume(): void {
    pause = undefined;
    attempt();
  }

  if (largestPacket([name, fields]) > MAX_PACKET_BYTES - PACKET_ROOM) {
    // The server would end the connection, and so with every repetition.
    queueMicrotask(() => over || finish(tooLarge));
  } else {
    attempt();
  }
  return cancel;
}

/** The same as a promise, which rejects with a CallFailure; for what events don't depend on. */
export function ask<N extends Name>(
  line: Line,
  name: N,
  fields: Fields<N>,
  rules: Rules = {},
): Promise<Answer<N>> {
  return new Promise((resolve, reject) => {
    const done = (error: CallError | null, answer: Answer<N>) =>
      error ? reject(new CallFailure(error)) : resolve(answer);
    call(line, name, fields, done, { patience: PATIENCE, ...rules });
  });
}

/** Make a call whose answer nobody waits for, if there is a connection. */
export function tell<N extends Name>(line: Line, name: N, fields: Fields<N>): void {
  if (line.up) line.emit(name, fields, () => {});
}

// What is binary goes out by itself, and of that a call may have as much again.
function largestPacket(told: unknown): number {
  let binary = 0;
  const text = JSON.stringify(told, (_, value: unknown) => {
    if (!(value instanceof Uint8Array)) return value;
    binary += value.byteLength;
    return null;
  });
  return Math.max(binary, new TextEncoder().encode(text).length);
}
