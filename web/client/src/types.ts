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
  /** Whether it has had Redis since it began: else "local" is how it runs, and no outage. */
  sharedMemory: boolean;
  /** "down": the permanent store is away; new messages are spooled. */
  store: "ok" | "down";
  /** The server is stopping; the client finds it again by itself. */
  draining: boolean;
  /** `message_chars`, `queued_turns` …; 0 means no limit. */
  limits: Record<string, number>;
  /** What conversations may be answered with, by name. */
  models: readonly string[];
  systemPrompts: readonly string[];
  /** Whether the server keeps facts about its users. */
  remembersFacts: boolean;
}

/** What a conversation is answered with, of what the server offers; null: its default. */
export interface Choice {
  model: string | null;
  systemPrompt: string | null;
}

export interface ConversationInfo extends Choice {
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
  /** Messages with these words, the best first; of all conversations, or of one. */
  search(query: string, options?: SearchOptions): Promise<readonly SearchResult[]>;
  /** A conversation as a document; of a long one, in so many calls as it takes. */
  export(id: string, format: ExportFormat): Promise<ExportedFile>;
  /** What `export` gave as JSON, parsed, as a new conversation, whose id this gives. */
  import(document: unknown, onProgress?: (share: number) => void): Promise<string>;
  /** What the server knows of the user over all conversations. */
  readonly facts: Facts;
  usage(options?: UsageOptions): Promise<Usage>;
  /** All conversations, facts and whatever else there is of the user; for good. */
  deleteEverything(): Promise<void>;
  close(): void;
}

export interface SearchOptions {
  /** 20 by default, 50 at most. */
  limit?: number;
  conversationId?: string;
}

export interface SearchResult {
  conversation: ConversationInfo;
  message: MessageView;
  /** The part of its text that was found. */
  snippet: string;
}

export type ExportFormat = "json" | "markdown";

export interface ExportedFile {
  content: string;
  mediaType: string;
  name: string;
}

export interface Facts {
  readonly state: Store<FactList>;
  /** Keep the list up to date, until `close()`. Counted: opened twice, it is closed twice. */
  open(): void;
  close(): void;
  loadMore(): Promise<void>;
  correct(id: string, text: string): Promise<void>;
  remove(id: string): Promise<void>;
}

export interface FactList {
  /** Null until the server has said so. */
  enabled: boolean | null;
  items: readonly Fact[];
  loading: boolean;
  hasMore: boolean;
  error: CallError | null;
}

export interface Fact {
  id: string;
  text: string;
  /** From 0 to 1. */
  confidence: number;
  createdAt: string;
  updatedAt: string;
  /** The user has corrected it. */
  edited: boolean;
  source: { conversationId: string; messageId: string } | null;
}

export interface UsageOptions {
  conversationId?: string;
  /** 30 by default, 90 at most. */
  days?: number;
}

export interface Used {
  turns: number;
  inputTokens: number;
  outputTokens: number;
  totalTokens: number;
}

export interface Usage extends Used {
  /** Those on which anything was used; `day` is a date in UTC. */
  days: readonly (Used & { day: string })[];
  /** Of a day, in tokens; null: there is none. */
  budget: { limit: number; used: number; resetsAt: string } | null;
}

export type IfBusy = "queue" | "interrupt" | "reject";

/** An image to send. */
export interface NewAttachment {
  mediaType: string;
  data: Uint8Array<ArrayBuffer>;
}

export interface SendOptions {
  ifBusy?: IfBusy;
  attachments?: readonly NewAttachment[];
}

export interface Conversation {
  readonly id: string;
  readonly state: Store<ConversationState>;
  /** Follow it, across reconnects, until `close()`. Counted: opened twice, it is closed twice. */
  open(): void;
  close(): void;
  /** Gives the message's id at once. It goes out when it can, and is answered once. */
  send(content: string, options?: SendOptions): string;
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
  /** Load earlier messages until this one is there; false: it is not in the conversation. */
  find(messageId: string): Promise<boolean>;
  /** What one thinks of an answer; 0 takes it back. */
  feedback(messageId: string, value: 1 | 0 | -1, comment?: string): Promise<void>;
  /** What it is answered with from now on; what is left out stays as it is. */
  configure(choice: Partial<Choice>): Promise<void>;
  /** What the model was given for a turn: docs/protocol.md has its fields. Null: it was not kept. */
  context(turnId: string): Promise<Record<string, unknown> | null>;
  /** An image of one of its messages. */
  attachment(id: string): Promise<Blob>;
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
  choice: Choice;
  error: CallError | null;
}

export interface ToolUse {
  id: string;
  name: string;
  status: "started" | "finished" | "failed";
  input: Record<string, unknown> | null;
  output: string | null;
  /** How much of the answer's text had been said when it began. */
  at: number;
}

export interface Feedback {
  value: 1 | -1;
  comment: string | null;
}

export interface Attachment {
  id: string;
  mediaType: string;
  /** In bytes. */
  size: number;
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
  /** What an answer has used, as far as this client was told on the feed. */
  tools?: readonly ToolUse[];
  feedback?: Feedback;
  attachments?: readonly Attachment[];
}
