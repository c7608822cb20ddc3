// Images that were chosen and not sent yet, by conversation, as drafts of text are: they survive a
// look elsewhere, and not a reload.
import type { NewAttachment } from "mnemosio-client";

export interface Picked {
  key: string;
  /** Of the file, for people. */
  name: string;
  image: NewAttachment;
}

const NONE: readonly Picked[] = [];
const picked = new Map<string | null, readonly Picked[]>();

export const pickedIn = (id: string | null) => picked.get(id) ?? NONE;

export function keepPicked(id: string | null, images: readonly Picked[]) {
  if (images.length) picked.set(id, images);
  else picked.delete(id);
}
