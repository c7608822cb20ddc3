// Messages that are not acknowledged yet, kept over reloads: each user's own, shared by all tabs.
//
// Two tabs may send the same message: its id makes that one message. So a tab sends what it finds.

import type { Kept } from "./kept.js";
import { imagesToText, textToImages } from "./images.js";
import type { CallError, Choice, IfBusy, NewAttachment } from "./types.js";

export interface Unsent {
  readonly id: string;
  readonly conversationId: string;
  readonly content: string;
  readonly ifBusy: IfBusy;
  readonly at: string;
  /** Its conversation has to be begun first. */
  readonly begins: boolean;
  /** With what, where that is not the server's default. */
  readonly choice?: Choice;
  /** Of each image; they themselves are kept apart, as they are large. */
  readonly images?: readonly { mediaType: string; size: number }[];
  /** Why it was not accepted; it waits for `retry` or `discard`. */
  readonly error: CallError | null;
  /** It may have been accepted before, and its answer lost. */
  readonly doubtful: boolean;
}

const USER = "mnemosio.user";
const key = (userId: string) => `mnemosio.outbox.${userId}`;
const imagesKey = (id: string) => `mnemosio.images.${id}`;
const LOST: CallError = {
  code: "lost",
  message: "Its images were not kept over the reload.",
  retryable: false,
};

export class Outbox {
  readonly #kept: Kept;
  readonly #images = new Map<string, readonly NewAttachment[]>();
  #entries: readonly Unsent[] = [];
  #userId: string | null;
  #known = false; // whether a server has said who the user is

  constructor(kept: Kept) {
    this.#kept = kept;
    this.#userId = kept.get(USER); // until then whoever it was last time
  }

  /**
   * The server says who is here. Takes in what this user left unsent before; what was written
   * since this page began is theirs too, unless somebody else was here in between.
   */
  adopt(userId: string): void {
    if (this.#known && userId === this.#userId) return;
    const own = this.#known ? [] : this.#entries;
    const ids = new Set(own.map(({ id }) => id));
    const others = (list: readonly Unsent[]) => list.filter(({ id }) => !ids.has(id));
    if (userId !== this.#userId) this.#write(others); // they stood under another's name
    this.#known = true;
    this.#userId = userId;
    this.#kept.set(USER, userId);
    const left = others(this.#stored()).map((entry) => ({ ...this.#whole(entry), doubtful: true }));
    this.#entries = [...left, ...own];
    this.#write((list) => [...others(list), ...own]);
  }

  get conversationIds(): ReadonlySet<string> {
    return new Set(this.#entries.map(({ conversationId }) => conversationId));
  }

  of(conversationId: string): readonly Unsent[] {
    return this.#entries.filter((each) => each.conversationId === conversationId);
  }

  imagesOf(id: string): readonly NewAttachment[] {
    return this.#images.get(id) ?? [];
  }

  add(entry: Unsent, images: readonly NewAttachment[] = []): void {
    this.#entries = [...this.#entries, entry];
    if (images.length) {
      this.#images.set(entry.id, images);
      this.#kept.set(imagesKey(entry.id), imagesToText(images));
    }
    this.#write((list) => [...list, entry]);
  }

  change(id: string, fields: Partial<Unsent>): void {
    const changed = (list: readonly Unsent[]) =>
      list.map((each) => (each.id === id ? { ...each, ...fields } : each));
    this.#entries = changed(this.#entries);
    this.#write(changed);
  }

  remove(id: string): void {
    const others = (list: readonly Unsent[]) => list.filter((each) => each.id !== id);
    this.#entries = others(this.#entries);
    this.#write(others);
    if (this.#images.delete(id)) this.#kept.set(imagesKey(id), null);
  }

  /** Why it can't be sent any more, where there was no room for its images; else null. */
  lossOf({ id, images = [] }: Unsent): CallError | null {
    return this.imagesOf(id).length < images.length ? LOST : null;
  }

  #whole(entry: Unsent): Unsent {
    if (!entry.images?.length) return entry;
    this.#images.set(entry.id, textToImages(this.#kept.get(imagesKey(entry.id))) ?? []);
    return { ...entry, error: this.lossOf(entry) ?? entry.error };
  }

  // Other tabs write there too: what is theirs stays, and what they took away does not come back.
  #write(change: (list: readonly Unsent[]) => readonly Unsent[]): void {
    if (this.#userId === null) return;
    const list = change(this.#stored());
    this.#kept.set(key(this.#userId), list.length ? JSON.stringify(list) : null);
  }

  #stored(): Unsent[] {
    try {
      const list: unknown = JSON.parse(this.#kept.get(key(this.#userId ?? "")) ?? "[]");
      return Array.isArray(list) ? (list as Unsent[]) : [];
    } catch {
      return [];
    }
  }
}
