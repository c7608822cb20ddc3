/** What of an answer's Markdown is to be said aloud after its first `from` characters: whole
 * sentences, unless it `ended`; and how far that reaches. */
export function sentencesOf(content: string, from: number, ended: boolean) {
  const rest = content.slice(from);
  const end = ended ? rest.length : lastEnd(rest);
  return { words: plain(rest.slice(0, end)), length: from + end };
}

function lastEnd(text: string): number {
  let end = 0;
  for (const match of text.matchAll(/[.!?…。！？؟।]["')\]”’]*(?=\s)|[。！？]|\n/g)) {
    end = match.index + match[0].length;
  }
  return end;
}

/** Without the marks that make it Markdown, in one line. */
export function plain(markdown: string): string {
  return markdown
    .replace(/^ *(?:```|~~~).*$/gm, "")
    .replace(/!?\[([^[\]\n]{0,200})\]\([^()\n]{0,500}\)/g, "$1")
    .replace(/^[ \t]*(?:#{1,6}|>|[-*+]|\|)[ \t]+/gm, "")
    .replace(/[*`~|]+|(?<![\p{L}\p{N}])_+|_+(?![\p{L}\p{N}])/gu, "") // a_name keeps its
    .replace(/\s+/g, " ")
    .trim();
}
