const MOST = 4000;

/** The beginning of what may be long. */
export function cut(text: string, most = MOST): string {
  if (text.length <= most) return text;
  return `${text.slice(0, most)}\n… (${(text.length - most).toLocaleString("en")} more characters)`;
}
