// What belongs together: one connection, the list, the conversations, and what is unsent.

import { ask } from "./calls.js";
import { Connection } from "./connection.js";
import { LiveConversation } from "./conversation.js";
import { CallFailure } from "./errors.js";
import { newId } from "./ids.js";
import { Kept } from "./kept.js";
import { KnownFacts } from "./facts.js";
import { Conversations, infoOf } from "./list.js";
import { Outbox } from "./outbox.js";
import { exported, imported } from "./transfer.js";
import type { FeedEvent } from "./transcript.js";
import type {
  ChatClient,
  ConnectionState,
  ConnectOptions,
  Conversation,
  ConversationList,
  ExportedFile,
  ExportFormat,
  SearchOptions,
  SearchResult,
  Store,
  Usage,
  UsageOptions,
} from "./types.js";
import { usageOf } from "./usage.js";
import { viewOf } from "./views.js";
import type { OtherEvents } from "./wire.js";

const DELETE_EVERYTHING = "delete everything"; // what the contract wants said
const HASTY = { patience: 5000 }; // somebody waits for it who has just typed
const PATIENT = { patience: 60_000 };
const CLOSED_KNOWN = 20; // of so many that are closed the messages are still known

/** Connect to a server, as the bearer of a token or as a guest. */
export function connect(options: ConnectOptions = {}): ChatClient {
  return new Client(options);
}

class Client implements ChatClient {
  readonly connection: Store<ConnectionState>;
  readonly conversations: Store<ConversationList>;
  readonly facts: KnownFacts;
  readonly #connection: Connection;
  readonly #list: Conversations;
  readonly #outbox: Outbox;
  readonly #known = new Map<string, LiveConversation>();
  readonly #closed = new Set<string>(); // those that were, the latest last
  #userId: string | null = null;

  constructor(options: ConnectOptions) {
    const kept = new Kept(options.storage, options.url);
    this.#outbox = new Outbox(kept);
    this.#connection = new Connection(options, kept, {
      onUp: (userId) => this.#up(userId),
      onDown: () => this.#down(),
      onEvent: (name, payload) => this.#event(name, payload),
    });
    this.#list = new Conversations(this.#connection);
    this.facts = new KnownFacts(this.#connection);
    this.connection = this.#connection.state;
    this.conversations = this.#list.state;
    this.#connection.open();
  }

  loadMore(): Promise<void> {
    return this.#list.loadMore();
  }

  conversation(id: string): Conversation {
    return this.#conversation(id, false);
  }

  create(): Conversation {
    return this.#conversation(newId(), true);
  }

  async rename(id: string, title: string): Promise<void> {
    await ask(this.#connection, "conversation:rename", { conversation_id: id, title });
  }

  async remove(id: string): Promise<void> {
    try {
      await ask(this.#connection, "conversation:delete", { conversation_id: id });
    } catch (error) {
      // Also where an answer was lost, and the same call is repeated.
      if (!(error instanceof CallFailure && error.code === "not_found")) throw error;
      this.#list.drop(id);
    }
  }

  async search(
    query: string,
    { limit, conversationId }: SearchOptions = {},
  ): Promise<readonly SearchResult[]> {
    const fields = { query, limit, conversation_id: conversationId };
    const { results } = await ask(this.#connection, "conversation:search", fields, HASTY);
    return results.map(({ conversation, message, snippet }) => ({
      ...{ conversation: infoOf(conversation), message: viewOf(message), snippet },
    }));
  }

  export(id: string, format: ExportFormat): Promise<ExportedFile> {
    return exported(this.#connection, id, format);
  }

  import(document: unknown, onProgress?: (share: number) => void): Promise<string> {
    return imported(this.#connection, document, onProgress);
  }

  async usage({ conversationId, days }: UsageOptions = {}): Promise<Usage> {
    const fields = { conversation_id: conversationId, days };
    return usageOf(await ask(this.#connection, "user:usage", fields));
  }

  async deleteEverything(): Promise<void> {
    await ask(this.#connection, "user:delete", { confirm: DELETE_EVERYTHING }, PATIENT);
    this.#list.refresh();
    this.facts.refresh();
  }

  close(): void {
    this.#connection.close();
  }

  #conversation(id: string, isNew: boolean): LiveConversation {
    let known = this.#known.get(id);
    if (!known) {
      const begins = isNew || this.#outbox.of(id).some((each) => each.begins);
      const around = {
        line: this.#connection,
        outbox: this.#outbox,
        onInfo: this.#list.put.bind(this.#list),
        onActivity: this.#list.touch.bind(this.#list),
        onClosed: this.#wasClosed.bind(this),
      };
      known = new LiveConversation(id, around, begins);
      this.#known.set(id, known);
    }
    return known;
  }

  #wasClosed(id: string): void {
    this.#closed.delete(id);
    this.#closed.add(id);
    const [first] = this.#closed;
    if (first === undefined || this.#closed.size <= CLOSED_KNOWN) return;
    this.#closed.delete(first);
    this.#known.get(first)?.forget(); // unless it is open again
  }

  #up(userId: string): void {
    this.#outbox.adopt(userId);
    if (this.#userId !== null && this.#userId !== userId) {
      this.#list.reset();
      this.facts.reset();
      for (const each of this.#known.values()) each.reset();
    }
    this.#userId = userId;
    this.#list.refresh();
    this.facts.refresh();
    // Also those that nobody looks at: what is unsent of them goes out.
    for (const id of this.#outbox.conversationIds) this.#conversation(id, false);
    for (const each of this.#known.values()) each.up();
  }

  #down(): void {
    this.#list.pause();
    this.facts.pause();
    for (const each of this.#known.values()) each.down();
  }

  #event(name: string, payload: unknown): void {
    const event = { name, ...(payload as object) } as Told;
    switch (event.name) {
      case "conversation:created":
      case "conversation:updated":
        this.#known.get(event.conversation.id)?.info(event.conversation);
        return this.#list.put(event.conversation);
      case "conversation:deleted":
        this.#list.drop(event.conversation_id);
        return this.#known.get(event.conversation_id)?.deleted();
      case "conversation:snapshot":
        return this.#known.get(event.conversation_id)?.snapshot(event);
      case "message:feedback":
        return this.#known.get(event.conversation_id)?.told(event);
      case "memory:updated":
        return this.facts.refresh();
      default:
        if ("cursor" in event) this.#known.get(event.conversation_id)?.event(event);
    }
  }
}

type Told =
  | FeedEvent
  | { [N in keyof OtherEvents]: { name: N } & OtherEvents[N] }[keyof OtherEvents];
