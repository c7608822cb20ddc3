// A storage that may be missing, full or forbidden: then nothing is kept, and all else works.

import type { KeptIn } from "./types.js";

export class Kept {
  readonly #storage: KeptIn | null;

  /** By default localStorage, where there is one. */
  constructor(storage?: KeptIn | null) {
    this.#storage = storage === undefined ? pageStorage() : storage;
  }

  get(key: string): string | null {
    try {
      return this.#storage?.getItem(key) ?? null;
    } catch {
      return null;
    }
  }

  set(key: string, value: string | null): void {
    try {
      if (value === null) this.#storage?.removeItem(key);
      else this.#storage?.setItem(key, value);
    } catch {
      // For this visit only, then.
    }
  }
}

function pageStorage(): KeptIn | null {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null; // where cookies are blocked, even the name throws
  }
}
