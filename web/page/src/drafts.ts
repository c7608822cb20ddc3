// What is typed and not sent yet. By conversation, it survives a look elsewhere, and a reload; what a
// question is being changed to, by its id, survives scrolling out of sight, where no row is kept.

export const edits = new Map<string, string>();

const NEW = "new";
const keyOf = (id: string | null) => `mnemosio.draft.${id ?? NEW}`;

export function draftOf(id: string | null): string {
  try {
    return sessionStorage.getItem(keyOf(id)) ?? "";
  } catch {
    return "";
  }
}

export function keepDraft(id: string | null, text: string) {
  try {
    if (text) sessionStorage.setItem(keyOf(id), text);
    else sessionStorage.removeItem(keyOf(id));
  } catch {
    // Where nothing can be kept, it lives as long as the box.
  }
}
