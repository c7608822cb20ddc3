// One conversation: on its feed while anybody here wants it, whatever happens to connections.
//
// On every connection: begin it on the server if it is new, open the feed after what is known, then
// send what is unsent. What does not follow on what is known leads back to opening, with no cursor.
// A connection that is lost ends all of that; the next one begins it anew.

import { Asking } from "./asking.js";
import { ask, call, tell, type Line } from "./calls.js";
import { newId } from "./ids.js";
import { choiceOf } from "./list.js";
import type { Outbox, Unsent } from "./outbox.js";
import { Sender } from "./sender.js";
import { Observable } from "./store.js";
import {
  EMPTY,
  type FeedEvent,
  firstPlace,
  hasEarlier,
  isOpen,
  type Snapshot,
  type Transcript,
  withEvent,
  withFeedback,
  withPage,
  withSnapshot,
} from "./transcript.js";
import type {
  CallError,
  Choice,
  Conversation,
  ConversationState,
  MessageView,
  SendOptions,
} from "./types.js";
import { feedbackOf } from "./views.js";
import type { Calls, OtherEvents, WireConversation } from "./wire.js";

export interface Surroundings {
  line: Line;
  outbox: Outbox;
  /** What the server says of the conversation as a whole. */
  onInfo(conversation: WireConversation): void;
  onActivity(conversationId: string, at: string): void;
  /** Nobody here has it open any more. */
  onClosed(conversationId: string): void;
}

type Thought = Pick<OtherEvents["message:feedback"], "message_id" | "feedback">;

const HISTORY_PAGE = 50;
const LARGEST_PAGE = 200; // on the way to one message, which may be far back
const DEFAULT: Choice = { model: null, systemPrompt: null };

export class LiveConversation implements Conversation {
  readonly id: string;
  readonly state: Observable<ConversationState>;
  readonly #line: Line;
  readonly #outbox: Outbox;
  readonly #around: Surroundings;
  readonly #sender: Sender;
  readonly #asking: Asking;
  #transcript: Transcript = EMPTY;
  #isNew: boolean; // it has to be begun on the server
  #opened = 0; // by how many
  #isLive = false; // whether events follow on what is known
  #opening: (() => void) | null = null; // ends the call that is under way
  #removals = 0; // how often messages were taken away: a page read meanwhile may be out of date
  readonly #removed = new Set<string>();
  #earlier: Promise<void> | null = null;

  constructor(id: string, around: Surroundings, isNew: boolean) {
    this.id = id;
    this.#around = around;
    this.#line = around.line;
    this.#outbox = around.outbox;
    this.#isNew = isNew;
    this.#asking = new Asking(around.line, id);
    this.#sender = new Sender(id, around.line, around.outbox, {
      onAccepted: (sent, answer) => this.#accepted(sent, answer),
      onChange: (error) => {
        this.#show({ error });
        if (!error) this.#proceed();
        this.#leaveIfUnwanted();
      },
    });
    this.state = new Observable<ConversationState>({
      ...{ status: isNew ? "new" : "loading", messages: [], answering: false },
      ...{ hasEarlier: false, loadingEarlier: false, choice: DEFAULT, error: null },
    });
    this.#show();
  }

  open(): void {
    this.#opened += 1;
    this.#proceed();
  }

  close(): void {
    this.#opened = Math.max(0, this.#opened - 1);
    this.#leaveIfUnwanted();
    if (this.#opened === 0) this.#around.onClosed(this.id);
  }

  send(content: string, { ifBusy = "queue", attachments = [] }: SendOptions = {}): string {
    const id = newId();
    const at = new Date().toISOString();
    const images = attachments.map(({ mediaType, data }) => ({ mediaType, size: data.byteLength }));
    const unsent = {
      ...{ id, conversationId: this.id, content, ifBusy, at },
      ...{ begins: this.#isNew, error: null, doubtful: false },
      ...(this.#isNew && { choice: this.state.get().choice }),
      ...(images.length && { images }),
    };
    this.#outbox.add(unsent, attachments);
    this.#show();
    this.#proceed();
    return id;
  }

  retry(messageId: string): void {
    const unsent = this.#sender.unsent.find(({ id }) => id === messageId);
    if (unsent) this.#outbox.change(messageId, { error: this.#outbox.lossOf(unsent) });
    this.#show();
    this.#proceed();
  }

  discard(messageId: string): void {
    this.#sender.stop(messageId);
    this.#outbox.remove(messageId);
    this.#show();
    this.#proceed();
  }

  edit(messageId: string, content: string): Promise<void> {
    return this.#asking.edit(messageId, content);
  }

  regenerate(turnId: string): Promise<void> {
    return this.#asking.regenerate(turnId);
  }

  async stop(): Promise<void> {
    const waitingFirst = (view: MessageView) => (view.status === "queued" ? 0 : 1);
    const open = this.#transcript.views.filter(isOpen);
    open.sort((a, b) => waitingFirst(a) - waitingFirst(b)); // or they would begin in between
    await Promise.all(open.map(({ key }) => this.#asking.stop(key)));
  }

  loadEarlier(limit = HISTORY_PAGE): Promise<void> {
    this.#earlier ??= this.#loadEarlier(limit).finally(() => (this.#earlier = null));
    return this.#earlier;
  }

  async find(messageId: string): Promise<boolean> {
    const isThere = () => this.#transcript.views.some(({ id }) => id === messageId);
    while (!isThere() && hasEarlier(this.#transcript)) await this.loadEarlier(LARGEST_PAGE);
    return isThere();
  }

  async feedback(messageId: string, value: 1 | 0 | -1, comment?: string): Promise<void> {
    const feedback = await this.#asking.feedback(messageId, value, comment);
    this.told({ message_id: messageId, feedback });
  }

  async configure(choice: Partial<Choice>): Promise<void> {
    if (this.#isNew) this.#show({ choice: { ...this.state.get().choice, ...choice } });
    else this.info(await this.#asking.configure(choice));
  }

  context(turnId: string): Promise<Record<string, unknown> | null> {
    return this.#asking.context(turnId);
  }

  async attachment(id: string): Promise<Blob> {
    const unsent = this.#sender.image(id);
    if (unsent) return new Blob([unsent.data], { type: unsent.mediaType });
    return this.#asking.attachment(id);
  }

  /** A connection stands. */
  up(): void {
    if (this.#sender.unsent.some(({ begins }) => begins)) this.#isNew = true;
    this.#show();
    this.#proceed();
  }

  down(): void {
    this.#halt();
  }

  /** Another user is here. */
  reset(): void {
    this.#halt();
    this.#empty();
    this.#removed.clear();
    const status = this.#isNew ? "new" : "loading";
    this.#show({ status, choice: DEFAULT, error: null });
  }

  /** Closed long ago: when it is opened again, it is read anew. */
  forget(): void {
    if (this.#opened === 0 && this.#sender.unsent.length === 0) this.reset();
  }

  deleted(): void {
    this.#halt();
    for (const { id } of this.#sender.unsent) this.#outbox.remove(id);
    this.#empty();
    this.#isNew = false;
    this.#show({ status: "missing", error: null });
  }

  event(event: FeedEvent): void {
    if (!this.#isLive) return;
    const next = withEvent(this.#transcript, event);
    if (next === null) return this.#resync();
    this.#transcript = next;
    if (event.name === "message:removed") {
      this.#removals += 1;
      event.message_ids.forEach((id) => this.#removed.add(id));
    }
    if (event.name === "message:created") {
      this.#around.onActivity(this.id, event.message.created_at);
    }
    this.#show();
  }

  /** What the server says of the conversation as a whole. */
  info(conversation: WireConversation): void {
    const choice = choiceOf(conversation);
    const { model, systemPrompt } = this.state.get().choice;
    if (model === choice.model && systemPrompt === choice.systemPrompt) return;
    this.#show({ choice });
  }

  /** What was thought of an answer: beside the feed, as it changes nothing that was said. */
  told({ message_id: id, feedback }: Thought): void {
    this.#transcript = withFeedback(this.#transcript, id, feedback && feedbackOf(feedback));
    this.#show();
  }

  /** Told on the way: what was known is out of date. */
  snapshot(snapshot: OtherEvents["conversation:snapshot"]): void {
    if (!this.#isWanted) return this.#leave();
    this.#take(snapshot);
    this.#goLive();
  }

  get #isWanted(): boolean {
    return this.#opened > 0 || this.#sender.next !== undefined;
  }

  /** Whatever comes next, if anything can. */
  #proceed(): void {
    if (!this.#line.up || !this.#isWanted || this.#opening) return;
    if (this.#isLive) this.#sender.proceed();
    else if (!this.#isNew) this.#openFeed();
    else if (this.#sender.next) this.#begin();
  }

  #begin(): void {
    const { model, systemPrompt } = this.#sender.next?.choice ?? this.state.get().choice;
    const fields = {
      conversation_id: this.id,
      ...(model !== null && { model }),
      ...(systemPrompt !== null && { system_prompt: systemPrompt }),
    };
    this.#calling("conversation:create", fields, () => {
      this.#isNew = false;
      for (const { id } of this.#sender.unsent) this.#outbox.change(id, { begins: false });
      this.#openFeed();
    });
  }

  #openFeed(): void {
    const fields = { conversation_id: this.id, after: this.#transcript.cursor ?? undefined };
    this.#calling("conversation:open", fields, ({ conversation, messages, turns, cursor }) => {
      // Without messages what was missed follows, as events with their cursors.
      if (messages && turns) this.#take({ messages, turns, cursor });
      this.#around.onInfo(conversation);
      this.info(conversation);
      this.#goLive();
    });
  }

  // One of the calls that lead onto the feed; they end with the connection.
  #calling<N extends "conversation:create" | "conversation:open">(
    name: N,
    fields: Calls[N]["fields"],
    then: (answer: Calls[N]["answer"]) => void,
  ): void {
    const done = (error: CallError | null, answer: Calls[N]["answer"]) => {
      this.#opening = null;
      if (error) this.#fail(error);
      else then(answer);
    };
    const rules = {
      again: ({ retryable }: CallError) => retryable,
      onTrouble: (error: CallError) => this.#show({ error }),
    };
    this.#opening = call(this.#line, name, fields, done, rules);
  }

  #take(snapshot: Snapshot): void {
    this.#transcript = withSnapshot(this.#transcript, snapshot);
    this.#removals += 1;
  }

  #empty(): void {
    this.#transcript = EMPTY;
    this.#removals += 1;
  }

  #goLive(): void {
    this.#isLive = true;
    this.#show({ status: "ready", error: null });
    this.#proceed();
  }

  /** There is a gap: what happens until the next snapshot is part of that. */
  #resync(): void {
    this.#isLive = false;
    this.#sender.stop();
    this.#transcript = { ...this.#transcript, cursor: null };
    this.#proceed();
  }

  #fail(error: CallError): void {
    for (const { id } of this.#sender.unsent) this.#outbox.change(id, { error });
    if (error.code === "not_found") this.#empty();
    this.#show({ status: error.code === "not_found" ? "missing" : "failed", error });
  }

  #accepted({ id, doubtful }: Unsent, { message }: Calls["message:send"]["answer"]): void {
    // Its event comes in a moment, and until then it should not be gone. A repeated answer is no
    // news though: the feed has told it, and maybe that it was removed since.
    if (doubtful || this.#removed.has(id)) return;
    if (this.#transcript.views.some(({ key }) => key === id)) return;
    const { cursor } = this.#transcript;
    const event = { name: "message:created", message, conversation_id: this.id } as const;
    const next = withEvent(this.#transcript, { ...event, cursor: cursor ?? "" });
    if (next) this.#transcript = { ...next, cursor };
  }

  async #loadEarlier(limit: number): Promise<void> {
    if (!hasEarlier(this.#transcript)) return;
    this.#show({ loadingEarlier: true });
    try {
      while (hasEarlier(this.#transcript)) {
        const removals = this.#removals;
        const before = firstPlace(this.#transcript);
        const fields = { conversation_id: this.id, before, limit };
        const page = await ask(this.#line, "conversation:history", fields);
        if (removals !== this.#removals) continue; // it may have what is gone since
        this.#transcript = withPage(this.#transcript, page);
        return;
      }
    } finally {
      this.#show({ loadingEarlier: false });
    }
  }

  /** What is under way on this connection is over. */
  #halt(): void {
    this.#isLive = false;
    this.#opening?.();
    this.#opening = null;
    this.#sender.stop();
  }

  #leaveIfUnwanted(): void {
    if (this.#isWanted || !(this.#isLive || this.#opening)) return;
    this.#halt();
    this.#leave();
  }

  #leave(): void {
    tell(this.#line, "conversation:close", { conversation_id: this.id });
  }

  #show(fields: Partial<ConversationState> = {}): void {
    const { views } = this.#transcript;
    const unsent = this.#sender.views;
    const known = new Set(unsent.length ? views.map(({ key }) => key) : []);
    const pending = unsent.filter(({ key }) => !known.has(key));
    const before = this.state.get().messages;
    this.state.update({
      messages: pending.length ? likeBefore(before, [...views, ...pending]) : views,
      answering: views.findLast(isOpen) !== undefined,
      hasEarlier: hasEarlier(this.#transcript),
      ...fields,
    });
  }
}

// The same object where nothing changed.
function likeBefore<T>(before: readonly T[], all: readonly T[]): readonly T[] {
  const isSame = all.length === before.length && all.every((each, at) => each === before[at]);
  return isSame ? before : all;
}
