// What is unsent of one conversation goes out, one after the other, each until it is answered.

import { call, type Line } from "./calls.js";
import type { Outbox, Unsent } from "./outbox.js";
import type { CallError, MessageView, NewAttachment } from "./types.js";
import type { Calls } from "./wire.js";

export interface SenderListener {
  onAccepted(sent: Unsent, answer: Calls["message:send"]["answer"]): void;
  /** What waits has changed; or it has to wait because of this error. */
  onChange(trouble: CallError | null): void;
}

// In seconds. What is refused for longer, because a day's tokens are used up, waits for its author:
// hours later it may not be wanted any more.
const LONGEST_WAIT = 120;

export class Sender {
  readonly #conversationId: string;
  readonly #line: Line;
  readonly #outbox: Outbox;
  readonly #listener: SenderListener;
  readonly #views = new WeakMap<Unsent, MessageView>();
  #sending: { id: string; cancel: () => void } | null = null;

  constructor(conversationId: string, line: Line, outbox: Outbox, listener: SenderListener) {
    this.#conversationId = conversationId;
    this.#line = line;
    this.#outbox = outbox;
    this.#listener = listener;
  }

  get unsent(): readonly Unsent[] {
    return this.#outbox.of(this.#conversationId);
  }

  /** What goes out next; what was refused waits for its author. */
  get next(): Unsent | undefined {
    return this.unsent.find(({ error }) => error === null);
  }

  /** An image of what waits, by the id that its view has. */
  image(attachmentId: string): NewAttachment | undefined {
    const [, id, index] = /^(.+)\/(\d+)$/.exec(attachmentId) ?? [];
    return id === undefined ? undefined : this.#outbox.imagesOf(id)[Number(index)];
  }

  get views(): readonly MessageView[] {
    return this.unsent.map((unsent) => {
      const view = this.#views.get(unsent) ?? viewOf(unsent);
      this.#views.set(unsent, view);
      return view;
    });
  }

  /** Once the connection is on the feed: what it tells must not be missed. */
  proceed(): void {
    const { next } = this;
    if (this.#sending || !next) return;
    const { id, content, ifBusy } = next;
    const conversation_id = this.#conversationId;
    const images = this.#outbox.imagesOf(id);
    const fields = {
      ...{ message_id: id, content, conversation_id, if_busy: ifBusy },
      ...(images.length && { attachments: images.map(attached) }),
    };
    const done = (error: CallError | null, answer: Calls["message:send"]["answer"]) => {
      this.#sending = null;
      if (error) this.#outbox.change(id, { error });
      else {
        const sent = this.unsent.find((each) => each.id === id) ?? next;
        this.#outbox.remove(id);
        this.#listener.onAccepted(sent, answer);
      }
      this.#listener.onChange(null);
    };
    const again = ({ retryable, code, retryAfter = 0 }: CallError) =>
      retryable && retryAfter <= LONGEST_WAIT && !(code === "busy" && ifBusy === "reject");
    const rules = { again, onTrouble: (error: CallError) => this.#listener.onChange(error) };
    this.#sending = { id, cancel: call(this.#line, "message:send", fields, done, rules) };
  }

  /** Leave what is under way, or only this message. It may have been accepted all the same. */
  stop(id = this.#sending?.id): void {
    if (!this.#sending || this.#sending.id !== id) return;
    this.#sending.cancel();
    this.#outbox.change(id, { doubtful: true });
    this.#sending = null;
  }
}

type Attached = NonNullable<Calls["message:send"]["fields"]["attachments"]>[number];

/** What is no media type of the contract's is answered with `invalid`. */
const attached = ({ mediaType, data }: NewAttachment): Attached =>
  ({ type: "image", media_type: mediaType, data }) as Attached;

function viewOf({ id, content, at, error, images }: Unsent): MessageView {
  const named = images?.map((image, index) => ({ id: `${id}/${index}`, ...image }));
  return {
    ...{ key: id, id, turnId: null, seq: null, role: "user", content, createdAt: at, error },
    ...{ status: error ? "failed" : "sending", attempt: 0 },
    ...(named && { attachments: named }),
  };
}
