import { useSyncExternalStore } from "react";
import type { Store } from "mnemosio-client";

export function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(
    (listener) => store.subscribe(listener),
    () => store.get(),
  );
}
