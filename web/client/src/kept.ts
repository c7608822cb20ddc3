// A storage that may be missing, full or forbidden: what it does not take stays as long as the page
// does.

import type { KeptIn } from "./types.js";

export class Kept {
  readonly #storage: KeptIn | null;
  readonly #prefix: string;
  readonly #untaken = new Map<string, string | null>(); // and so is newer than what is stored

  /** By default localStorage, where there is one. What belongs to another `url` stays apart. */
  constructor(storage?: KeptIn | null, url?: string) {
    this.#storage = storage === undefined ? pageStorage() : storage;
    this.#prefix = url === undefined ? "" : `${url} `;
  }

  get(key: string): string | null {
    const name = this.#prefix + key;
    const untaken = this.#untaken.get(name);
    if (untaken !== undefined) return untaken;
    try {
      return this.#storage?.getItem(name) ?? null;
    } catch {
      return null;
    }
  }

  set(key: string, value: string | null): void {
    const name = this.#prefix + key;
    if (this.#takes(name, value)) this.#untaken.delete(name);
    else this.#untaken.set(name, value);
  }

  #takes(name: string, value: string | null): boolean {
    if (!this.#storage) return false;
    try {
      if (value === null) this.#storage.removeItem(name);
      else this.#storage.setItem(name, value);
      return true;
    } catch {
      return false;
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
