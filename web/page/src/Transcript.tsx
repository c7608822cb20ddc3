import { useVirtualizer } from "@tanstack/react-virtual";
import { useCallback, useEffect, useImperativeHandle, useRef, type Ref } from "react";
import type { Conversation, ConversationState, MessageView } from "mnemosio-client";
import { go, type Place } from "./address.ts";
import { focusBox } from "./focus.ts";
import { Icon } from "./Icon.tsx";
import { Row } from "./Row.tsx";
import { useFollowing } from "./useFollowing.ts";
import { useSought } from "./useSought.ts";
import { useWaited } from "./useWaited.ts";

export interface TranscriptHandle {
  toEnd(): void;
}

interface Props {
  ref: Ref<TranscriptHandle>;
  conversation: Conversation;
  state: ConversationState;
  /** The message that somebody went to. */
  sought: Place;
  online: boolean;
  /** Of a message; 0: no limit. */
  maxChars: number;
  onAttempt: (work: () => Promise<void>) => Promise<void>;
}

export function Transcript({ ref, conversation, state, sought, online, maxChars, onAttempt }: Props) {
  const { messages, answering, hasEarlier, loadingEarlier } = state;
  const scroller = useRef<HTMLDivElement>(null);
  const { following, wanted, want, pin } = useFollowing(scroller);

  // The same functions each time: other ones would have all rows laid out anew.
  const latest = useRef(messages);
  latest.current = messages;
  const keyOf = useCallback((index: number) => latest.current[index]?.key ?? index, []);
  const heightOf = useCallback((index: number) => estimated(latest.current[index]), []);

  const rows = useVirtualizer({
    count: messages.length,
    getScrollElement: () => scroller.current,
    getItemKey: keyOf,
    estimateSize: heightOf,
    initialOffset: () => messages.reduce((sum, each) => sum + estimated(each), 0),
    overscan: 4,
    paddingStart: 24,
    paddingEnd: 24,
    anchorTo: "end", // what is read stays where it is when older messages come in above
    scrollEndThreshold: wanted.current ? Number.MAX_SAFE_INTEGER : -1,
  });

  const { searching, foundId } = useSought(sought, {
    conversation,
    state,
    onAttempt,
    letGo: () => want(false),
    show: (index) => rows.scrollToIndex(index, { align: "start" }),
    scroller,
  });

  function toEnd() {
    if (sought.message !== null) go(conversation.id, { replace: true }); // that is not wanted any more
    want(true);
    pin();
  }
  useImperativeHandle(ref, () => ({ toEnd }));

  const items = rows.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const wantsEarlier = hasEarlier && !loadingEarlier && state.error === null && items.length > 0 && first < 12;
  useEffect(() => {
    if (wantsEarlier) void conversation.loadEarlier().catch(() => undefined);
  }, [wantsEarlier, conversation]);

  // Of what the server has, not of what is still to be sent. A question's turn is told right after it.
  const last = messages.findLast(({ role, turnId }) => role === "assistant" || turnId !== null);
  const unanswered = useWaited(last?.role === "user" && !answering);
  const lastKey = last?.role === "assistant" || unanswered ? last?.key : undefined;

  return (
    <div className="transcript">
      <div
        ref={scroller}
        className="scroller"
        role="feed"
        aria-label="Conversation"
        aria-busy={answering || loadingEarlier}
        tabIndex={0}
      >
        <div className="rows" style={{ height: rows.getTotalSize() }}>
          {items.map(({ key, index, start }) => {
            const message = messages[index];
            if (!message) return null;
            return (
              <div
                key={key}
                ref={rows.measureElement}
                data-index={index}
                className="place"
                style={{ transform: `translateY(${start}px)` }}
              >
                <Row
                  message={message}
                  place={index + 1}
                  count={hasEarlier ? -1 : messages.length}
                  isLast={message.key === lastKey}
                  isFound={foundId !== null && message.id === foundId}
                  trouble={message.status === "sending" ? state.error : null}
                  online={online}
                  maxChars={maxChars}
                  conversation={conversation}
                  onAttempt={onAttempt}
                />
              </div>
            );
          })}
        </div>
      </div>
      {/* Beside the feed and not in it: there may be nothing but articles in there. */}
      {first === 0 && hasEarlier && (
        <div className="earlier">
          {loadingEarlier ? (
            <p>{searching ? "Looking for the message …" : "Loading what was said before …"}</p>
          ) : (
            <button type="button" onClick={() => void onAttempt(() => conversation.loadEarlier())}>
              Show what was said before
            </button>
          )}
        </div>
      )}
      {!following && (
        <button
          type="button"
          className="latest"
          onClick={() => {
            toEnd();
            focusBox();
          }}
          onWheel={(event) => scroller.current?.scrollBy(0, event.deltaY)}
        >
          <Icon name="down" /> {answering ? "Follow the answer" : "Jump to latest"}
        </button>
      )}
    </div>
  );
}

const LINE = 27;
const PICTURES = 170;
const USE = 30;
const estimates = new WeakMap<MessageView, number>();

/** About how high a row will be; only rows that come near are measured. */
function estimated(message: MessageView | undefined): number {
  if (!message) return 100;
  const known = estimates.get(message);
  if (known !== undefined) return known;
  const { role, content, attachments, tools = [] } = message;
  const perLine = role === "user" ? 62 : 78;
  const breaks = content.length < 4000 ? content.split("\n").length - 1 : 60;
  const rest = 56 + (attachments ? PICTURES : 0) + USE * tools.length;
  const height = rest + LINE * (1 + breaks + Math.floor(content.length / perLine));
  estimates.set(message, height);
  return height;
}
