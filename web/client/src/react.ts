// For React: a store as a hook, and a conversation that is followed while it is shown.

import { useEffect, useSyncExternalStore } from "react";
import type { Conversation, ConversationState, Store } from "./types.js";

/** A store's value; the component is rendered again when it changes. */
export function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

/** A conversation's state; it is open as long as the component stands. */
export function useConversation(conversation: Conversation): ConversationState {
  useEffect(() => {
    conversation.open();
    return () => conversation.close();
  }, [conversation]);
  return useStore(conversation.state);
}
