// The blocks of a text that grows. Only its end is read again, and what did not change stays the
// same object, so that it is not drawn again.
import { Lexer, Marked, type Token } from "marked";
import { maths } from "./maths.ts";

const marked = new Marked({ gfm: true }, maths);

// What only an attacker writes takes the time of its square to read. It is shown as it is.
const MOST_CHARACTERS = 400_000;
const NESTED = /^(?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t]))){12}/m;
const INDENTED = /^ {50,}(?:[-*+]|\d{1,9}[.)]) /gm;
const MOST_INDENTED = 20;
const MARKS = /[*_~`[\]<$\\!@&]/g;
const MOST_MARKS = 1000; // in one paragraph, or one cell of a table
const BLANK_LINE = /\n[ \t]*\n$/;

export class Blocks {
  #text = "";
  #tokens: readonly Token[] = [];
  #defines = false; // whether a link is defined in it: "[name]: address"

  update(given: string): readonly Token[] {
    const text = given.replace(/\r\n?/g, "\n");
    if (text === this.#text) return this.#tokens;
    let { kept, offset } = this.#stable(text);
    let { tokens, defines } = lex(text.slice(offset));
    if (defines && offset > 0) {
      // What stands before it may refer to it.
      ({ tokens, defines } = lex(text));
      kept = [];
    }
    const old = defines || this.#defines ? [] : this.#tokens.slice(kept.length);
    this.#tokens = [...kept, ...tokens.map((token, index) => same(old[index], token))];
    this.#text = text;
    this.#defines = defines;
    return this.#tokens;
  }

  /** The blocks that no more text can change: those before the last one that stands behind a blank
   * line and has a whole first line. Where a link is defined, there are none. */
  #stable(text: string): { kept: readonly Token[]; offset: number } {
    const none = { kept: [], offset: 0 };
    if (!text.startsWith(this.#text) || this.#defines) return none;
    let offset = this.#text.length;
    for (let index = this.#tokens.length - 1; index > 0; index--) {
      const token = this.#tokens[index];
      const before = this.#tokens[index - 1];
      if (!token || !before) return none;
      offset -= token.raw.length;
      // Asked of the text: the tokens of lists have line ends and space of their own making.
      const isBegun = token.type !== "space" && text.slice(offset, offset + token.raw.length).includes("\n");
      const space = text.slice(Math.max(0, offset - before.raw.length - 1), offset);
      if (isBegun && before.type === "space" && BLANK_LINE.test(space)) {
        return { kept: this.#tokens.slice(0, index), offset };
      }
    }
    return none;
  }
}

interface Lexed {
  tokens: readonly Token[];
  defines: boolean;
}

function lex(text: string): Lexed {
  if (text.length > MOST_CHARACTERS || NESTED.test(text) || count(text, INDENTED) > MOST_INDENTED) {
    return plain(text);
  }
  try {
    const lexer = new Lexer(marked.defaults);
    lexer.blockTokens(text, lexer.tokens);
    for (const { src, tokens } of lexer.inlineQueue) {
      // What one paragraph leaves open is no matter of the next one's.
      Object.assign(lexer.state, { inLink: false, inRawBlock: false });
      if (count(src, MARKS) > MOST_MARKS) tokens.push({ type: "text", raw: src, text: src });
      else lexer.inlineTokens(src, tokens);
    }
    return { tokens: [...lexer.tokens], defines: Object.keys(lexer.tokens.links).length > 0 };
  } catch {
    return plain(text); // nested deeper than the stack
  }
}

function count(text: string, what: RegExp): number {
  let found = 0;
  for (const _ of text.matchAll(what)) found++;
  return found;
}

const plain = (raw: string): Lexed => ({ tokens: raw ? [{ type: "plain", raw }] : [], defines: false });

/** The old object where nothing has changed. What follows a quote or a list may change what is in it,
 * though it is made of the same text. */
const same = (old: Token | undefined, fresh: Token): Token =>
  old?.raw === fresh.raw && JSON.stringify(old) === JSON.stringify(fresh) ? old : fresh;
