// Math among Markdown: $$…$$ and \[…\] on display, \(…\) and $…$ within a line. None of it goes over
// a blank line, so that an answer which is still streaming never changes before its last paragraph.
import type { TokenizerAndRendererExtension, Tokens } from "marked";

export interface MathToken extends Tokens.Generic {
  type: "math";
  text: string;
  display: boolean;
}

const BODY = String.raw`((?:\\[^\n]|[^\\\n]|\\?\n(?![ \t]*\n))+?)`;
const DOLLARS = new RegExp(String.raw`^ {0,3}\$\$${BODY}\$\$`);
const BRACKETS = new RegExp(String.raw`^ {0,3}\\\[${BODY}\\\]`);
const PARENTHESES = new RegExp(String.raw`^\\\(${BODY}\\\)`);
// As Pandoc has it: no white space inside the dollars, and no digit behind: "$5 and $6" is money.
const DOLLAR = /^\$(?![\s$])((?:\\[^\n]|[^\\$\n])*?)(?<=[^\s\\]|\\[^\n])\$(?!\d)/;

function token(match: RegExpExecArray | null, display: boolean): MathToken | undefined {
  if (!match?.[1]?.trim()) return undefined;
  return { type: "math", raw: match[0], text: match[1].trim(), display };
}

const block: TokenizerAndRendererExtension = {
  name: "mathBlock",
  level: "block",
  start: (src) => src.match(/(?<=\n) {0,3}(?:\$\$|\\\[)/)?.index,
  tokenizer(src) {
    const match = DOLLARS.exec(src) ?? BRACKETS.exec(src);
    if (!match) return undefined;
    const behind = /^[ \t]*(?:\n|$)/.exec(src.slice(match[0].length));
    if (!behind) return undefined; // text goes on in its line: then it is part of a paragraph
    const found = token(match, true);
    return found && { ...found, raw: match[0] + behind[0] };
  },
};

const inline: TokenizerAndRendererExtension = {
  name: "mathInline",
  level: "inline",
  start: (src) => src.match(/\$|\\[([]/)?.index,
  tokenizer(src) {
    if (src.startsWith("$$")) return token(DOLLARS.exec(src), true);
    if (src.startsWith("$")) return token(DOLLAR.exec(src), false);
    if (src.startsWith("\\[")) return token(BRACKETS.exec(src), true);
    return token(PARENTHESES.exec(src), false);
  },
};

export const maths = { extensions: [block, inline] };
