import type { ReactNode } from "react";

const LETTERS = /[\p{L}\p{N}]+/gu;

const folded = (text: string) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/** How much of a text is seen before what was found in it: a line and a half. */
const BEFORE = 40;

/** A text from shortly before the first word that `marked` marks, else beyond the lines shown. */
export function near(text: string, query: string): string {
  const first = found(text, query)[0]?.index ?? 0;
  if (first <= BEFORE) return text;
  const from = first - BEFORE;
  const space = text.slice(from, first).search(/\s/);
  return `…${text.slice(space < 0 ? from : from + space + 1).replace(/^[\uDC00-\uDFFF]/, "")}`;
}

/** A text with those of its words marked that begin as one of the query's does, or the other way
 * round: the server finds a word in its other forms, too. */
export function marked(text: string, query: string): ReactNode[] {
  const parts: ReactNode[] = [];
  let from = 0;
  for (const match of found(text, query)) {
    parts.push(text.slice(from, match.index), <mark key={match.index}>{match[0]}</mark>);
    from = match.index + match[0].length;
  }
  return [...parts, text.slice(from)];
}

function found(text: string, query: string) {
  const wanted = [...query.matchAll(LETTERS)].map(([word]) => folded(word));
  return [...text.matchAll(LETTERS)].filter(([word]) => wanted.some((each) => areAlike(folded(word), each)));
}

function areAlike(word: string, wanted: string): boolean {
  if (word.startsWith(wanted)) return true;
  return word.length > 3 && wanted.startsWith(word) && wanted.length - word.length <= 3;
}
