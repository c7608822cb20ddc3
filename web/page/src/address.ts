// The open conversation is in the address, behind the #: the server needs no route for it.
import type { Store } from "mnemosio-client";

const listeners = new Set<() => void>();

function read(): string | null {
  const encoded = /^#\/c\/(.+)$/.exec(location.hash)?.[1];
  if (!encoded) return null;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

let openId = read();

function look() {
  const id = read();
  if (id === openId) return;
  openId = id;
  for (const listener of listeners) listener();
}

window.addEventListener("hashchange", look);

/** The id of the conversation that is open; null: a new one. */
export const address: Store<string | null> = {
  get: () => openId,
  subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

export const addressOf = (id: string | null) => (id === null ? "#/" : `#/c/${encodeURIComponent(id)}`);

export function go(id: string | null, { replace = false } = {}) {
  if (replace) history.replaceState(null, "", addressOf(id));
  else history.pushState(null, "", addressOf(id));
  look();
}
