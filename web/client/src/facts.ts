// What the server knows of the user, read while somebody looks, and read again when it has changed.

import { ask, call, type Line } from "./calls.js";
import { Observable } from "./store.js";
import type { Fact, FactList, Facts } from "./types.js";
import type { WireFact } from "./wire.js";

const PAGE = 50;
const LARGEST_PAGE = 100;
const NOTHING: FactList = { enabled: null, items: [], loading: false, hasMore: false, error: null };

export class KnownFacts implements Facts {
  readonly state = new Observable<FactList>(NOTHING);
  readonly #line: Line;
  #opened = 0;
  #next: string | null = null;
  #reads = 0;
  #cancel = () => {};

  constructor(line: Line) {
    this.#line = line;
  }

  open(): void {
    this.#opened += 1;
    if (this.#opened === 1) this.refresh();
  }

  close(): void {
    this.#opened = Math.max(0, this.#opened - 1);
    if (this.#opened === 0) this.pause();
  }

  /** As many as there were, but as they are now. */
  refresh(): void {
    if (this.#opened === 0) return;
    this.#cancel();
    this.#reads += 1;
    const limit = Math.min(LARGEST_PAGE, Math.max(PAGE, this.state.get().items.length));
    this.state.update({ loading: true });
    const onTrouble = (error: FactList["error"]) => this.state.update({ error });
    this.#cancel = call(
      this.#line,
      "memory:list",
      { limit },
      (error, answer) => {
        if (error) return this.state.update({ loading: false, error });
        this.#next = answer.next;
        this.state.set({
          ...{ enabled: answer.enabled, items: answer.facts.map(factOf), loading: false },
          ...{ hasMore: answer.next !== null, error: null },
        });
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
    this.#reads += 1;
    this.#next = null;
    this.state.set(NOTHING);
  }

  async loadMore(): Promise<void> {
    const before = this.#next;
    if (before === null) return;
    const reads = this.#reads;
    const answer = await ask(this.#line, "memory:list", { limit: PAGE, before });
    if (reads !== this.#reads || before !== this.#next) return; // read anew meanwhile
    this.#next = answer.next;
    const items = [...this.state.get().items, ...answer.facts.map(factOf)];
    this.state.update({ items, hasMore: answer.next !== null });
  }

  async correct(id: string, text: string): Promise<void> {
    const { fact } = await ask(this.#line, "memory:update", { fact_id: id, text });
    const { items } = this.state.get();
    this.state.update({ items: items.map((each) => (each.id === id ? factOf(fact) : each)) });
  }

  async remove(id: string): Promise<void> {
    await ask(this.#line, "memory:delete", { fact_id: id });
    this.state.update({ items: this.state.get().items.filter((each) => each.id !== id) });
  }
}

function factOf({ source, ...fact }: WireFact): Fact {
  return {
    ...{ id: fact.id, text: fact.text, confidence: fact.confidence, edited: fact.edited },
    ...{ createdAt: fact.created_at, updatedAt: fact.updated_at },
    source: source && { conversationId: source.conversation_id, messageId: source.message_id },
  };
}
