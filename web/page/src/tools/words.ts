// What the page says of an agent's tools: those that come with the server in plain words, any other
// by its name.
import type { ToolUse } from "mnemosio-client";

type Words = Record<ToolUse["status"], string>;

const KNOWN: Record<string, Words> = {
  search_conversation: {
    started: "Searching earlier messages …",
    finished: "Searched earlier messages",
    failed: "Earlier messages could not be searched",
  },
  search_other_conversations: {
    started: "Searching your other conversations …",
    finished: "Searched your other conversations",
    failed: "Your other conversations could not be searched",
  },
};

/** `isOver`: the answer has ended, so what has only started never will. */
export function wordsOf({ name, status }: Pick<ToolUse, "name" | "status">, isOver = false): string {
  const plain = name.replaceAll("_", " ");
  if (isOver && status === "started") return `${KNOWN[name]?.finished ?? `Used ${plain}`} (cut short)`;
  const words = KNOWN[name] ?? {
    started: `Using ${plain} …`,
    finished: `Used ${plain}`,
    failed: `${plain} failed`,
  };
  return words[status];
}
