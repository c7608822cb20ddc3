import { useEffect, useRef, useState, type RefObject } from "react";
import type { Conversation, ConversationState } from "mnemosio-client";
import type { Place } from "./address.ts";

const TRIES = 30; // frames until a row that was scrolled to stands in the document

interface Around {
  conversation: Conversation;
  state: ConversationState;
  onAttempt: (work: () => Promise<void>) => Promise<void>;
  /** Of the end: somebody wants to read elsewhere. */
  letGo: () => void;
  show: (index: number) => void;
  scroller: RefObject<HTMLElement | null>;
}

/** Leads to the message that somebody went to: reads back to it, scrolls there, gives it the focus. */
export function useSought(place: Place, around: Around) {
  const { message } = place;
  const { conversation, state, onAttempt, letGo, show, scroller } = around;
  const [foundId, setFoundId] = useState<string | null>(null);
  const [arrival, setArrival] = useState<{ id: string } | null>(null);
  const [searching, setSearching] = useState(false);
  const reached = useRef<Place>(null); // whoever has been there may be anywhere since
  const isReady = state.status === "ready";

  useEffect(() => {
    if (message === null || !isReady || reached.current === place) return;
    let isWanted = true;
    letGo();
    setSearching(true);
    void onAttempt(async () => {
      try {
        const isThere = await conversation.find(message);
        if (!isWanted) return;
        if (!isThere) throw new Error("This message is not in the conversation any more.");
        reached.current = place;
        setArrival({ id: message });
      } finally {
        if (isWanted) setSearching(false);
      }
    });
    return () => {
      isWanted = false;
    };
    // Only on going somewhere, and once the conversation is there.
  }, [place, isReady, conversation]);

  useEffect(() => {
    if (!arrival) return;
    const index = state.messages.findIndex(({ id }) => id === arrival.id);
    if (index < 0) return;
    setFoundId(arrival.id);
    show(index);
    let frame = 0;
    let tries = 0;
    const focus = () => {
      const row = [...(scroller.current?.querySelectorAll("article") ?? [])].find(
        (each) => each.dataset.id === arrival.id,
      );
      if (row) row.focus({ preventScroll: true });
      else if (++tries < TRIES) frame = requestAnimationFrame(focus);
    };
    frame = requestAnimationFrame(focus);
    return () => cancelAnimationFrame(frame);
    // Once on each arrival: what is answered meanwhile does not call back to it.
  }, [arrival]);

  return { searching, foundId };
}
