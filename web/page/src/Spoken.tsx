import { useEffect, useRef, useState } from "react";
import type { ConversationState, MessageView } from "mnemosio-client";
import { sentencesOf } from "./sentences.ts";
import { wordsOf as wordsOfTool } from "./tools/words.ts";
import { notSent } from "./words.ts";

const PAUSE = 2000;

/** How far a message has been told. */
interface Told {
  key: string;
  attempt: number;
  length: number;
  /** So many uses of tools. */
  uses: number;
}

/** Tells a screen reader what is answered, a sentence or more at a time, at most every two seconds:
 * the list of messages itself is too restless while an answer streams. One message after the other,
 * each until its end; and once what could not be sent. */
export function Spoken({ state: { messages } }: { state: ConversationState }) {
  const [text, setText] = useState("");
  const latest = useRef(messages);
  const waiting = useRef<Told[]>([]);
  const refused = useRef(new Set<string>());
  const timer = useRef<number>(undefined);
  latest.current = messages;

  useEffect(() => {
    function tell() {
      timer.current = undefined;
      const told = waiting.current[0];
      if (!told) return;
      const message = latest.current.find(({ key }) => key === told.key);
      const words = message ? wordsOf(message, told) : "";
      if (words) setText(words);
      if (!message || !isOpen(message)) waiting.current.shift();
      timer.current = window.setTimeout(tell, PAUSE);
    }

    const failed = messages.filter(({ role, status }) => role === "user" && status === "failed");
    const news = [...messages.filter(isOpen), ...failed.filter(({ key }) => !refused.current.has(key))];
    refused.current = new Set(failed.map(({ key }) => key));
    for (const { key } of news) {
      if (waiting.current.some((each) => each.key === key)) continue;
      waiting.current.push({ key, attempt: -1, length: 0, uses: 0 });
    }
    if (timer.current === undefined) tell();
  }, [messages]);

  useEffect(
    () => () => {
      clearTimeout(timer.current);
      timer.current = undefined;
    },
    [],
  );

  return (
    <p className="heard" role="status">
      {text}
    </p>
  );
}

const isOpen = ({ role, status }: MessageView) =>
  role === "assistant" && (status === "queued" || status === "streaming");

/** What is new of a message; it is noted as told. */
function wordsOf(message: MessageView, told: Told): string {
  if (message.role === "user") return message.status === "failed" ? notSent(message.error) : "";
  const isFirst = told.attempt < 0;
  const isAnew = message.attempt > 1 && told.attempt !== message.attempt;
  const { words, length } = sentencesOf(message.content, isAnew ? 0 : told.length, !isOpen(message));
  const { tools = [] } = message;
  const uses = tools.slice(isAnew ? 0 : told.uses).map((use) => wordsOfTool(use, !isOpen(message)));
  told.attempt = message.attempt;
  told.length = length;
  told.uses = tools.length;
  const said = [words, uses.join(", ")].filter(Boolean).join(" ");
  return [(isFirst || isAnew) && !said ? "Answering …" : said, endOf(message)].filter(Boolean).join(" ");
}

function endOf({ status, error }: MessageView): string {
  if (status === "stopped") return "Stopped.";
  if (status === "interrupted" || status === "failed") return error?.message ?? "The answer broke off.";
  return "";
}
