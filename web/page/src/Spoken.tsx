import { useEffect, useRef, useState } from "react";
import type { ConversationState, MessageView } from "mnemosio-client";
import { sentencesOf } from "./sentences.ts";

const PAUSE = 2000;

/** Tells a screen reader what is answered, a sentence or more at a time, at most every two seconds:
 * the list of messages itself is too restless while an answer streams. */
export function Spoken({ state }: { state: ConversationState }) {
  const [text, setText] = useState("");
  const latest = useRef<MessageView | undefined>(undefined);
  const told = useRef({ key: "", attempt: 0, length: 0, status: "" });

  const answer = state.messages.findLast((each) => each.role === "assistant");
  latest.current = answer;
  const isLive = answer?.status === "queued" || answer?.status === "streaming";

  useEffect(() => {
    if (!isLive) return;
    const tell = () => {
      const now = latest.current;
      if (!now) return;
      const before = told.current;
      const isNew = before.key !== now.key || before.attempt !== now.attempt;
      const from = isNew ? 0 : before.length;
      const ended = now.status !== "queued" && now.status !== "streaming";
      const { words, length } = sentencesOf(now.content, from, ended);
      told.current = { key: now.key, attempt: now.attempt, length, status: now.status };
      const end = ended && before.status !== now.status ? endOf(now) : "";
      const said = [isNew && !words ? "Answering …" : words, end].filter(Boolean).join(" ");
      if (said) setText(said);
    };
    tell();
    const timer = setInterval(tell, PAUSE);
    return () => {
      clearInterval(timer);
      setTimeout(tell, PAUSE); // the rest, when it has ended
    };
  }, [isLive, answer?.key]);

  return (
    <p className="heard" role="status">
      {text}
    </p>
  );
}

function endOf({ status, error }: MessageView): string {
  if (status === "stopped") return "Stopped.";
  if (status === "interrupted" || status === "failed") return error?.message ?? "The answer broke off.";
  return "";
}
