import type { ReactNode } from "react";

const LETTERS = /[\p{L}\p{N}]+/gu;

const folded = (text: string) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/** A text with those of its words marked that begin as one of the query's does, or the other way
 * round: the server finds a word in its other forms, too. */
export function marked(text: string, query: string): ReactNode[] {
  const wanted = [...query.matchAll(LETTERS)].map(([word]) => folded(word));
  const parts: ReactNode[] = [];
  let from = 0;
  for (const match of text.matchAll(LETTERS)) {
    if (!wanted.some((each) => areAlike(folded(match[0]), each))) continue;
    parts.push(text.slice(from, match.index), <mark key={match.index}>{match[0]}</mark>);
    from = match.index + match[0].length;
  }
  return [...parts, text.slice(from)];
}

function areAlike(word: string, wanted: string): boolean {
  if (word.startsWith(wanted)) return true;
  return word.length > 3 && wanted.startsWith(word) && wanted.length - word.length <= 3;
}
