import { memo } from "react";
import type { MessageView } from "mnemosio-client";
import { Markdown } from "./markdown/Markdown.tsx";
import { partsOf } from "./tools/parts.ts";
import { Use } from "./tools/Use.tsx";

/** What an answer says, with the tools it used in their places. */
export const AnswerText = memo(function AnswerText({ message }: { message: MessageView }) {
  const isStreaming = message.status === "streaming";
  const parts = partsOf(message);
  return parts.map(({ uses, text }, index) => (
    <div key={index} className="part">
      {uses.map((use) => (
        <Use key={use.id} use={use} isOver={!isStreaming} />
      ))}
      {text.trim() && <Markdown text={text} streaming={isStreaming && index === parts.length - 1} />}
    </div>
  ));
});
