import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversations } from "../../dist/list.js";

const shape = (id, minute) => ({
  ...{ id, title: id, message_count: 2, created_at: "2026-01-01T00:00:00.000Z" },
  updated_at: `2026-01-01T00:${minute}:00.000Z`,
});

function list() {
  const calls = [];
  const line = {
    ...{ up: true, end: null },
    emit: (name, fields, done) => calls.push({ name, fields, done }),
    watch: () => () => {},
  };
  const conversations = new Conversations(line);
  return {
    conversations,
    answer: (...shapes) => calls.shift().done({ ok: true, conversations: shapes, next: null }),
    ids: () => conversations.state.get().items.map(({ id }) => id),
  };
}

test("the newest activity is first", () => {
  const { conversations, answer, ids } = list();
  conversations.refresh();
  assert.ok(conversations.state.get().loading);
  answer(shape("b", 20), shape("a", 10));
  assert.ok(!conversations.state.get().loading);
  conversations.touch("a", "2026-01-01T00:30:00.000Z");
  conversations.touch("b", "2026-01-01T00:10:00.000Z"); // replayed: it is no news
  assert.deepEqual(ids(), ["a", "b"]);
  conversations.put(shape("c", 40));
  assert.deepEqual(ids(), ["c", "a", "b"]);
});

test("an answer that is older than what was told meanwhile takes nothing back", () => {
  const { conversations, answer, ids } = list();
  conversations.refresh();
  conversations.put(shape("new", 30));
  conversations.put({ ...shape("b", 20), title: "renamed" });
  conversations.drop("a");
  answer(shape("b", 20), shape("a", 10));
  assert.deepEqual(ids(), ["new", "b"]);
  assert.equal(conversations.state.get().items[1].title, "renamed");
});
