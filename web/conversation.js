// One conversation as its feed tells it, without a page: what is in it, and what is still to come.

export class Conversation {
  constructor(id = null) {
    this.id = id; // null until the first message is accepted
    this.entries = new Map(); // questions by message id, answers by turn id
    this.waiting = new Map(); // sent and not yet accepted
    this.cursor = null;
    this.live = false; // whether events of the feed follow on what is known
    this.more = null; // whether there are earlier messages; null: as the first seq tells
  }

  get all() {
    const place = (entry) => entry.seq ?? Infinity;
    const known = [...this.entries.values()].sort((a, b) => place(a) - place(b) || 0);
    return [...known, ...this.waiting.values()];
  }

  get open() {
    return this.all.filter(({ status }) => status === "running" || status === "queued");
  }

  get first() {
    return Math.min(...this.all.map((entry) => entry.seq ?? Infinity));
  }

  get hasEarlier() {
    return this.more ?? (this.first > 1 && this.first < Infinity);
  }

  put(message) {
    const key = message.role === "user" ? message.id : message.turn_id;
    this.waiting.delete(key);
    this.entries.set(key, { ...message, key });
  }

  answer(turnId, fields) {
    const question = this.all.find((entry) => entry.role === "user" && entry.turn_id === turnId);
    const seq = question?.seq ? question.seq + 1 : null;
    const entry = { key: turnId, turn_id: turnId, role: "assistant", seq, content: "", ...fields };
    this.entries.set(turnId, entry);
  }

  snapshot({ messages, turns, cursor }) {
    Object.assign(this, { cursor, live: true, more: null });
    this.entries.clear();
    messages.forEach((message) => this.put(message));
    for (const { id, status, attempt, text, next_index } of turns) {
      this.answer(id, { status, attempt, content: text, next: next_index });
    }
  }

  // Take in one event of the feed; false where it does not follow on what is known.
  apply(name, event) {
    const { turn_id: id, attempt, message } = event;
    const entry = this.entries.get(id);
    if (name === "turn:delta" && (entry?.attempt !== attempt || entry.next !== event.index)) {
      return false;
    }
    this.cursor = event.cursor;
    if (name === "message:created") this.put(message);
    if (name === "message:stored") Object.assign(this.entries.get(event.message_id) ?? {}, event);
    if (name === "message:removed") event.message_ids.forEach((each) => this.remove(each));
    if (name === "turn:queued") this.answer(id, { status: "queued" });
    // Another attempt begins with nothing: what earlier ones streamed is gone.
    if (name === "turn:started") this.answer(id, { status: "running", attempt, next: 0 });
    if (name === "turn:delta") {
      entry.content += event.text;
      entry.next += 1;
    }
    if (["turn:completed", "turn:stopped", "turn:failed"].includes(name)) {
      if (message) this.put(message);
      else this.answer(id, { status: name.slice("turn:".length) });
      this.entries.get(id).error = event.error?.message;
    }
    return true;
  }

  remove(messageId) {
    for (const [key, entry] of this.entries) if (entry.id === messageId) this.entries.delete(key);
  }
}
