import type { MessageView, ToolUse } from "mnemosio-client";

/** A stretch of an answer: what was used, then what was said. */
export interface Part {
  uses: readonly ToolUse[];
  text: string;
}

/** An answer in order: its text, parted where tools were used. A round of a model begins with its
 * own text, so what is parted is Markdown by itself. */
export function partsOf({ content, tools = [] }: MessageView): Part[] {
  const parts: Part[] = [];
  let uses: ToolUse[] = [];
  let from = 0;
  for (const use of tools) {
    const at = Math.min(use.at, content.length);
    if (at > from) {
      parts.push({ uses, text: content.slice(from, at) });
      uses = [];
      from = at;
    }
    uses.push(use);
  }
  parts.push({ uses, text: content.slice(from) });
  return parts;
}
