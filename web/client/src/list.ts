// The user's conversations, the newest activity first, as all their tabs and devices change them.

import { ask, call, type Line } from "./calls.js";
import { Observable } from "./store.js";
import type { Choice, ConversationInfo, ConversationList } from "./types.js";
import type { WireConversation } from "./wire.js";

const PAGE = 30;
const LARGEST_PAGE = 100;

const NOTHING: ConversationList = { items: [], loading: false, hasMore: false, error: null };

export const infoOf = (shape: WireConversation): ConversationInfo => ({
  ...{ id: shape.id, title: shape.title, messageCount: shape.message_count },
  ...{ createdAt: shape.created_at, updatedAt: shape.updated_at },
  ...choiceOf(shape),
});

export const choiceOf = ({ model, system_prompt }: WireConversation): Choice => ({
  ...{ model: model ?? null, systemPrompt: system_prompt ?? null },
});

export class Conversations {
  readonly state = new Observable<ConversationList>(NOTHING);
  readonly #line: Line;
  readonly #deleted = new Set<string>(); // an id is never used again
  readonly #told = new Set<string>(); // since the list was asked for: newer than its answer
  #next: string | null = null;
  #more: Promise<void> | null = null;
  #cancel = () => {};

  constructor(line: Line) {
    this.#line = line;
  }

  /** As long as it was, but as it is now: what happened while nobody was connected is not told. */
  refresh(): void {
    this.#cancel();
    this.#told.clear();
    const limit = Math.min(LARGEST_PAGE, Math.max(PAGE, this.state.get().items.length));
    this.state.update({ loading: true });
    const onTrouble = (error: ConversationList["error"]) => this.state.update({ error });
    this.#cancel = call(
      this.#line,
      "conversation:list",
      { limit },
      (error, answer) => {
        this.state.update({ loading: false, error });
        if (error) return;
        const told = this.state.get().items.filter(({ id }) => this.#told.has(id));
        const rest = answer.conversations.filter(({ id }) => !this.#told.has(id)).map(infoOf);
        this.#show([...told, ...rest], answer.next);
      },
      { onTrouble },
    );
  }

  pause(): void {
    this.#cancel();
    this.state.update({ loading: false });
  }

  reset(): void {
    this.pause();
    this.#next = null;
    this.state.set(NOTHING);
  }

  loadMore(): Promise<void> {
    this.#more ??= this.#loadMore().finally(() => (this.#more = null));
    return this.#more;
  }

  put(shape: WireConversation): void {
    const { items } = this.state.get();
    const info = infoOf(shape);
    this.#told.add(info.id);
    const others = items.filter(({ id }) => id !== info.id);
    this.#show([...others, info], this.#next);
  }

  drop(id: string): void {
    this.#deleted.add(id);
    this.#show(this.state.get().items, this.#next);
  }

  /** Something was said in it. */
  touch(id: string, updatedAt: string): void {
    const { items } = this.state.get();
    const touched = (each: ConversationInfo) => each.id === id && each.updatedAt < updatedAt;
    if (!items.some(touched)) return;
    this.#show(items.map((each) => (touched(each) ? { ...each, updatedAt } : each)), this.#next);
  }

  async #loadMore(): Promise<void> {
    const before = this.#next;
    if (before === null) return;
    this.state.update({ loading: true });
    try {
      const answer = await ask(this.#line, "conversation:list", { limit: PAGE, before });
      if (before !== this.#next) return; // it was read anew meanwhile
      const known = new Set(this.state.get().items.map(({ id }) => id));
      const page = answer.conversations.map(infoOf).filter(({ id }) => !known.has(id));
      this.#show([...this.state.get().items, ...page], answer.next);
    } finally {
      this.state.update({ loading: false });
    }
  }

  #show(all: readonly ConversationInfo[], next: string | null): void {
    this.#next = next;
    const items = all
      .filter(({ id }) => !this.#deleted.has(id))
      .sort((a, b) => (a.updatedAt < b.updatedAt ? 1 : a.updatedAt > b.updatedAt ? -1 : 0));
    this.state.update({ items, hasMore: next !== null });
  }
}
