import { useRef, useState, type ReactNode } from "react";
import type { Conversation, MessageView } from "mnemosio-client";
import { Comment } from "./Comment.tsx";
import { comments } from "./feedback.ts";
import { Icon } from "./Icon.tsx";

interface Props {
  message: MessageView & { id: string };
  conversation: Conversation;
  onAttempt: (work: () => Promise<void>) => Promise<void>;
  /** The buttons that follow, before the comment. */
  children: ReactNode;
}

/** A thumb up or down, and a word on why. What is pressed again is taken back. */
export function Feedback({ message, conversation, onAttempt, children }: Props) {
  const { id, feedback } = message;
  const [pending, setPending] = useState<1 | 0 | -1 | null>(null);
  const [asking, setAsking] = useState(comments.has(id));
  const presses = useRef(0);
  const thumb = useRef<HTMLButtonElement>(null);
  const value = pending ?? feedback?.value ?? 0;

  async function rate(pressed: 1 | -1) {
    const now = value === pressed ? 0 : pressed;
    setPending(now);
    setAsking(now !== 0);
    if (now === 0) comments.delete(id);
    const mine = ++presses.current;
    await onAttempt(() => conversation.feedback(id, now));
    if (mine === presses.current) setPending(null); // the server takes them in order
  }

  const button = (which: 1 | -1) => (
    <button
      ref={value === which ? thumb : undefined}
      type="button"
      className="plain"
      aria-label={which > 0 ? "Good answer" : "Bad answer"}
      title={which > 0 ? "Good answer" : "Bad answer"}
      aria-pressed={value === which}
      onClick={() => void rate(which)}
    >
      <Icon name={which > 0 ? "good" : "bad"} />
    </button>
  );
  return (
    <>
      {button(1)}
      {button(-1)}
      {value !== 0 && !asking && (
        <button type="button" className="plain word" onClick={() => setAsking(true)}>
          {feedback?.comment ? "Change your comment" : "Comment"}
        </button>
      )}
      {children}
      {asking && value !== 0 && (
        <Comment
          id={id}
          isPraise={value > 0}
          before={feedback?.comment ?? ""}
          onSend={(comment) => onAttempt(() => conversation.feedback(id, value, comment))}
          onClose={() => {
            setAsking(false);
            thumb.current?.focus();
          }}
        />
      )}
    </>
  );
}
