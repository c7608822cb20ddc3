import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { draftOf, keepDraft } from "./drafts.ts";
import { focusBox } from "./focus.ts";
import { Icon } from "./Icon.tsx";
import { TooLong } from "./TooLong.tsx";
import { excess, fit, isEnter } from "./typing.ts";

interface Props {
  /** The conversation's id; null: a new one. */
  draftKey: string | null;
  answering: boolean;
  /** 0: no limit. */
  maxChars: number;
  onSend: (text: string) => void;
  onStop: () => void;
}

export function Composer({ draftKey, answering, maxChars, onSend, onStop }: Props) {
  const [text, setText] = useState(() => draftOf(draftKey));
  const box = useRef<HTMLTextAreaElement>(null);
  const over = excess(text, maxChars);
  const canSend = text.trim() !== "" && over === 0;

  useEffect(focusBox, []);
  useLayoutEffect(() => fit(box.current), [text]);

  function type(now: string) {
    setText(now);
    keepDraft(draftKey, now);
  }

  function send() {
    box.current?.focus();
    if (!canSend) return;
    type("");
    onSend(text);
  }

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={box}
        id="message"
        rows={1}
        dir="auto"
        aria-label="Message"
        aria-describedby={over > 0 ? "too-long" : undefined}
        placeholder="Write a message"
        enterKeyHint="send"
        value={text}
        onChange={(event) => type(event.target.value)}
        onKeyDown={(event) => {
          if (!isEnter(event.nativeEvent)) return;
          event.preventDefault();
          send();
        }}
      />
      {answering && (
        <button
          type="button"
          className="round stop"
          aria-label="Stop"
          title="Stop (Esc)"
          onClick={() => {
            box.current?.focus();
            onStop();
          }}
        >
          <Icon name="stop" />
        </button>
      )}
      {(!answering || text.trim() !== "") && (
        <button className="round send" aria-label="Send" title="Send (Enter)" aria-disabled={!canSend}>
          <Icon name="up" />
        </button>
      )}
      <TooLong id="too-long" over={over} maxChars={maxChars} />
    </form>
  );
}
