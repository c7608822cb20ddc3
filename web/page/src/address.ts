// What is open is in the address, behind the #: the server needs no route for it.
import type { Store } from "mnemosio-client";

/** Another object each time somebody goes somewhere, also where that is the same place. */
export interface Place {
  /** Of the conversation; null: a new one. */
  id: string | null;
  /** The message in it that is to be seen; null: the latest. */
  message: string | null;
}

const listeners = new Set<() => void>();

function read(): Place {
  const [, id, message] = /^#\/c\/([^/]+)(?:\/([^/]+))?$/.exec(location.hash) ?? [];
  return { id: decoded(id), message: decoded(message) };
}

function decoded(part: string | undefined): string | null {
  if (!part) return null;
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

let place = read();

function look() {
  place = read();
  for (const listener of listeners) listener();
}

window.addEventListener("hashchange", () => {
  const { id, message } = read();
  if (id !== place.id || message !== place.message) look();
});

export const address: Store<Place> = {
  get: () => place,
  subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

export function addressOf(id: string | null, message?: string | null): string {
  if (id === null) return "#/";
  const rest = message ? `/${encodeURIComponent(message)}` : "";
  return `#/c/${encodeURIComponent(id)}${rest}`;
}

interface How {
  message?: string | null;
  replace?: boolean;
}

export function go(id: string | null, { message = null, replace = false }: How = {}) {
  const there = addressOf(id, message);
  if (replace || there === location.hash) history.replaceState(null, "", there);
  else history.pushState(null, "", there);
  look();
}
