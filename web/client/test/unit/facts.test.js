import assert from "node:assert/strict";
import { test } from "node:test";
import { KnownFacts } from "../../dist/facts.js";

const wireFact = (id, text = id) => ({
  ...{ id, text, confidence: 0.9, created_at: "1", updated_at: "2", edited: false },
  source: { conversation_id: "c", message_id: "m" },
});

function facts() {
  const calls = [];
  const line = {
    ...{ up: true, end: null },
    emit: (name, fields, done) => calls.push({ name, fields, done }),
    watch: () => () => {},
  };
  const known = new KnownFacts(line);
  const texts = () => known.state.get().items.map(({ text }) => text);
  const answer = (fields) => calls.shift().done({ ok: true, ...fields });
  return { known, calls, answer, texts };
}

test("facts are read while somebody looks, and again when they have changed", () => {
  const { known, calls, answer, texts } = facts();
  known.refresh();
  assert.equal(calls.length, 0);
  known.open();
  known.open();
  assert.equal(calls.length, 1);
  answer({ enabled: true, facts: [wireFact("a")], next: null });
  const { enabled, items } = known.state.get();
  assert.equal(enabled, true);
  assert.deepEqual(items[0].source, { conversationId: "c", messageId: "m" });
  known.refresh();
  answer({ enabled: true, facts: [wireFact("b"), wireFact("a")], next: null });
  assert.deepEqual(texts(), ["b", "a"]);
  known.close();
  known.close();
  known.refresh();
  assert.equal(calls.length, 0);
});

test("what was corrected or deleted is so at once", async () => {
  const { known, calls, answer, texts } = facts();
  known.open();
  answer({ enabled: true, facts: [wireFact("a"), wireFact("b")], next: null });
  const corrected = known.correct("a", "A!");
  assert.deepEqual(calls[0].fields, { fact_id: "a", text: "A!" });
  answer({ fact: { ...wireFact("a", "A!"), edited: true } });
  await corrected;
  const removed = known.remove("b");
  answer({});
  await removed;
  assert.deepEqual(texts(), ["A!"]);
});

test("a page that was asked for before all was read anew is left out", async () => {
  const { known, calls, answer, texts } = facts();
  known.open();
  answer({ enabled: true, facts: [wireFact("a")], next: "n" });
  const more = known.loadMore();
  known.refresh();
  const page = calls.shift();
  answer({ enabled: true, facts: [wireFact("b")], next: null });
  page.done({ ok: true, enabled: true, facts: [wireFact("c")], next: null });
  await more;
  assert.deepEqual(texts(), ["b"]);
});

test("an outage is told, and is no empty list", () => {
  const { known, calls } = facts();
  known.open();
  calls.shift().done({
    ok: false,
    error: { code: "unavailable", message: "The store is away.", retryable: true },
  });
  const { enabled, error } = known.state.get();
  assert.equal(enabled, null);
  assert.equal(error.message, "The store is away.");
  known.close();
});
