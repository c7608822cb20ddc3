import { useState } from "react";
import { comments } from "./feedback.ts";
import { isEscape } from "./typing.ts";

const MOST = 2000;

interface Props {
  /** Of the answer. */
  id: string;
  isPraise: boolean;
  before: string;
  onSend: (comment: string) => Promise<void>;
  onClose: () => void;
}

/** Why an answer was good or bad, for whoever wants to say so. */
export function Comment({ id, isPraise, before, onSend, onClose }: Props) {
  const [text, setText] = useState(comments.get(id) ?? before);
  function close() {
    comments.delete(id);
    onClose();
  }
  return (
    <form
      className="comment"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim()) void onSend(text.trim());
        close();
      }}
      onKeyDown={(event) => {
        if (!isEscape(event.nativeEvent)) return;
        event.preventDefault();
        close();
      }}
    >
      <input
        dir="auto"
        aria-label={isPraise ? "What was good about it" : "What was wrong with it"}
        placeholder={isPraise ? "What was good about it? (optional)" : "What was wrong with it? (optional)"}
        maxLength={MOST}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          comments.set(id, event.target.value);
        }}
      />
      <button className="accent">Send comment</button>
      <button type="button" onClick={close}>
        Not now
      </button>
    </form>
  );
}
