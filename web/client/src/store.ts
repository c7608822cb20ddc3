// A plain observable: a value, and who wants to know of its changes.

import type { Store } from "./types.js";

export class Observable<T> implements Store<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  // Bound, so that they can be handed on as they are (to React's useSyncExternalStore).
  readonly get = (): T => this.#value;

  readonly subscribe = (listener: () => void): (() => void) => {
    const own = () => listener(); // one listener given twice is two subscriptions
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  };

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (error) {
        // A view's fault must not keep the feed from others, nor go unseen.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /** Change some fields; nothing is told where they were so already. */
  update(fields: Partial<T>): void {
    const changed = (Object.keys(fields) as (keyof T)[]).some(
      (key) => !Object.is(fields[key], this.#value[key]),
    );
    if (changed) this.set({ ...this.#value, ...fields });
  }
}
