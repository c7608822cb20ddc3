// What a developer sees: stores to watch, and verbs. Cursors and acknowledgements stay inside.

/** A value that changes. `get` gives the same object until something in it has changed. */
export interface Store<T> {
  get(): T;
  /** Calls `listener` after each change; gives a function that ends that. */
  subscribe(listener: () => void): () => void;
}

/** Why something was not done. `message` is for people; `code` is one of docs/protocol.md. */
export interface CallError {
  code: string;
  message: string;
  /** Whether the same may work later. */
  retryable: boolean;
  field?: string;
  /** In seconds. */
  retryAfter?: number;
}

export type Token = string | (() => string | null | Promise<string | null>);
export type KeptIn = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export interface ConnectOptions {
  /** The server's address; by default the page's own origin. */
  url?: string;
  /** A JWT, or what fetches one (asked on every connect). None: a guest, whose token is kept. */
  token?: Token;
  /**
   * For a guest's token and what is unsent, each `url`'s own: localStorage where there is one. With
   * null, and where it takes nothing, they are kept as long as the page lives.
   */
  storage?: KeptIn | null;
  /** Of Engine.IO; by default only "websocket". */
  transports?: string[];
}

export interface ConnectionState {
  /** "refused" is final: `error` says why. All else comes back by itself, until `close()`. */
  status: "connecting" | "connected" | "reconnecting" | "refused" | "closed";
  error: CallError | null;
  userId: string | null;
  guest: boolean;
  serverVersion: string | null;
  /** "local": the server runs without Redis. */
  memory: "redis" | "local";
  /** "down": the permanent store is away; new messages are spooled. */
  store: "ok" | "down";
  /** The server is stopping; the client finds it again by itself. */
  draining: boolean;
  /** `message_chars` and `queued_turns`; 0 means no limit. */
  limits: Record<string, number>;
}

export interface ConversationInfo {
  id: string;
  title: string;
  createdAt: string;
  updatedAt: string;
  messageCount: number;
}

export interface ConversationList {
  /** The newest activity first. */
  items: readonly ConversationInfo[];
  loading: boolean;
  hasMore: boolean;
  error: CallError | null;
}

export interface ChatClient {
  readonly connection: Store<ConnectionState>;
  readonly conversations: Store<ConversationList>;
  /** The next page of the list. */
  loadMore(): Promise<void>;
  /** The same object each time; nothing happens until its `open()`. */
  conversation(id: string): Conversation;
  /** A new one; it begins on the server with its first message. */
  create(): Conversation;
  rename(id: string, title: string): Promise<void>;
  remove(id: string): Promise<void>;
  close(): void;
}

export type IfBusy = "queue" | "interrupt" | "reject";

export interface Conversation {
  readonly id: string;
  readonly state: Store<ConversationState>;
  /** Follow it, across reconnects, until `close()`. Counted: opened twice, it is closed twice. */
  open(): void;
  close(): void;
  /** Gives the message's id at once. It goes out when it can, and is answered once. */
  send(content: string, options?: { ifBusy?: IfBusy }): string;
  /** Send a message whose status is "failed" again. */
  retry(messageId: string): void;
  /** Drop a message that was not accepted: one that is "failed", or still "sending". */
  discard(messageId: string): void;
  /** Replace a question, and all that followed it. */
  edit(messageId: string, content: string): Promise<void>;
  /** Answer a turn's question again; the answer and all that followed it go. */
  regenerate(turnId: string): Promise<void>;
  /** End what is being answered, and what waits in line. */
  stop(): Promise<void>;
  loadEarlier(): Promise<void>;
}

export interface ConversationState {
  /**
   * "new": nothing is on the server yet. "ready": also while offline. "missing": deleted, or
   * somebody else's.
   */
  status: "new" | "loading" | "ready" | "missing" | "failed";
  /** Ascending; what is still to be sent stands last. */
  messages: readonly MessageView[];
  /** Something is queued or running. */
  answering: boolean;
  hasEarlier: boolean;
  loadingEarlier: boolean;
  error: CallError | null;
}

/** Immutable: a message that changed is another object, all others stay the same. */
export interface MessageView {
  /** Stable over the message's whole life: of a question its id, of an answer its turn's id. */
  key: string;
  id: string | null;
  turnId: string | null;
  seq: number | null;
  role: "user" | "assistant";
  content: string;
  createdAt: string | null;
  /**
   * Of a question: "sending", "failed" (not accepted: `retry` or `discard`) or "complete".
   * Of an answer: "queued", "streaming", "complete", "stopped", "interrupted" (it broke off;
   * `error` says why), or "failed" (it broke off before its first word).
   */
  status: "sending" | "failed" | "queued" | "streaming" | "complete" | "stopped" | "interrupted";
  error: CallError | null;
  /** Above 1: the answer was begun anew. */
  attempt: number;
  /** Of a finished answer: LangChain's `usage_metadata`. */
  usage?: unknown;
}
