import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveConversation } from "../../dist/conversation.js";
import { Kept } from "../../dist/kept.js";
import { Outbox } from "../../dist/outbox.js";

const at = "2026-01-01T00:00:00.000Z";
const message = (id, seq, role = "user") => ({
  ...{ id, conversation_id: "c", seq, role, content: id, status: "complete" },
  ...{ turn_id: `t-${id}`, created_at: at },
});

/** A conversation on a connection whose calls the test answers. */
function conversation(isNew = false) {
  const calls = [];
  const line = {
    ...{ up: true, end: null },
    emit: (name, fields, done) => calls.push({ name, fields, done }),
    watch: () => () => {},
  };
  const outbox = new Outbox(new Kept(null));
  const around = { line, outbox, onInfo() {}, onActivity() {}, onClosed() {} };
  const chat = new LiveConversation("c", around, isNew);
  return {
    ...{ chat, line, outbox, calls },
    answer(name, answer) {
      const call = calls.shift();
      assert.equal(call.name, name);
      call.done({ ok: true, ...answer });
      return call.fields;
    },
    refuse(name, code) {
      const call = calls.shift();
      assert.equal(call.name, name);
      call.done({ ok: false, error: { code, message: code, retryable: false } });
    },
    event: (name, cursor, fields) => chat.event({ name, cursor, conversation_id: "c", ...fields }),
    contents: () => chat.state.get().messages.map(({ content }) => content),
  };
}
const snapshot = (cursor, messages = [], turns = []) => ({
  ...{ recovery: "snapshot", conversation: {}, cursor, messages, turns },
});
const replayed = (cursor) => ({ recovery: "replayed", conversation: {}, cursor });
const running = { id: "t-q", status: "running", attempt: 1, text: "", next_index: 0 };
const delta = (index, text) => ({ turn_id: "t-q", attempt: 1, index, text });

test("it comes back after the last event, not after what an answer said of the feed", () => {
  const { chat, answer, event } = conversation();
  chat.open();
  const first = answer("conversation:open", snapshot("1", [message("q", 1)], [running]));
  assert.equal(first.after, undefined);
  event("turn:delta", "2", delta(0, "a"));
  chat.down();
  chat.up();
  assert.equal(answer("conversation:open", replayed("9")).after, "2");
  chat.down(); // before what was missed came
  chat.up();
  assert.equal(answer("conversation:open", replayed("9")).after, "2");
  event("turn:delta", "3", delta(1, "b"));
  assert.equal(chat.state.get().messages[1].content, "ab");
});

test("a gap leads to a snapshot; what comes before that is left out", () => {
  const { chat, answer, event, contents } = conversation();
  chat.open();
  answer("conversation:open", snapshot("1", [message("q", 1)], [running]));
  event("turn:delta", "2", delta(0, "a"));
  event("turn:delta", "4", delta(2, "c"));
  event("turn:delta", "5", delta(3, "d"));
  assert.deepEqual(contents(), ["q", "a"]);
  const turn = { ...running, text: "abcd", next_index: 4 };
  const again = answer("conversation:open", snapshot("5", [message("q", 1)], [turn]));
  assert.equal(again.after, undefined);
  event("turn:delta", "6", delta(4, "e"));
  assert.deepEqual(contents(), ["q", "abcde"]);
});

test("a new one begins with its first message, and is followed before that is sent", () => {
  const { chat, calls, answer, contents } = conversation(true);
  chat.open();
  assert.equal(calls.length, 0);
  const id = chat.send("Hello!");
  assert.equal(chat.state.get().status, "new");
  answer("conversation:create", { conversation: {} });
  answer("conversation:open", snapshot("1"));
  assert.equal(chat.state.get().status, "ready");
  const fields = answer("message:send", { message: { ...message(id, 1), content: "Hello!" } });
  assert.deepEqual(fields, {
    ...{ message_id: id, content: "Hello!", conversation_id: "c", if_busy: "queue" },
  });
  assert.deepEqual(contents(), ["Hello!"]); // also before its event
  assert.equal(calls.length, 0);
});

test("messages go out one after the other, and again with their ids on the next connection", () => {
  const { chat, calls, answer, event, contents, outbox } = conversation();
  chat.open();
  answer("conversation:open", snapshot("1"));
  const ids = [chat.send("a"), chat.send("b")];
  assert.equal(calls.length, 1);
  const { fields } = calls.shift();
  chat.down(); // its answer is lost; but it was accepted, and an edit replaced it
  chat.up();
  answer("conversation:open", replayed("3"));
  event("message:created", "2", { message: { ...message(ids[0], 1), content: "a" } });
  assert.deepEqual(contents(), ["a", "b"]);
  event("message:removed", "3", { message_ids: [ids[0]] });
  assert.deepEqual(answer("message:send", { message: message(ids[0], 1) }), fields);
  assert.deepEqual(contents(), ["b"]);
  const second = answer("message:send", { message: { ...message(ids[1], 1), content: "b" } });
  assert.equal(second.message_id, ids[1]);
  assert.deepEqual(outbox.of("c"), []);
});

test("a page of history that was read while messages were taken away is read again", async () => {
  const { chat, answer, event, contents } = conversation();
  chat.open();
  answer("conversation:open", snapshot("1", [message("d", 7)]));
  const loaded = chat.loadEarlier();
  event("message:removed", "2", { message_ids: ["c", "d"] });
  event("message:created", "3", { message: message("c2", 5) });
  answer("conversation:history", { messages: [message("b", 3), message("c", 5)], has_more: true });
  await new Promise(setImmediate);
  assert.equal(chat.state.get().loadingEarlier, true);
  const page = { messages: [message("b", 3)], has_more: true };
  assert.equal(answer("conversation:history", page).before, 5);
  await loaded;
  assert.deepEqual(contents(), ["b", "c2"]);
  assert.equal(chat.state.get().loadingEarlier, false);
});

const emptied = {
  deleted: ({ chat }) => chat.deleted(),
  "another user's": ({ chat }) => chat.reset(),
  missing({ chat, refuse }) {
    chat.down();
    chat.up();
    refuse("conversation:open", "not_found");
  },
};
for (const [what, empty] of Object.entries(emptied)) {
  test(`a page of history that is on its way is left out where all is gone: ${what}`, async () => {
    const told = conversation();
    const { chat, calls, answer, contents } = told;
    chat.open();
    answer("conversation:open", snapshot("1", [message("d", 7)]));
    const loaded = chat.loadEarlier();
    const history = calls.shift();
    empty(told);
    history.done({ ok: true, messages: [message("b", 3)], has_more: true });
    await loaded;
    assert.deepEqual(contents(), []);
    assert.equal(chat.state.get().loadingEarlier, false);
    assert.equal(calls.length, 0);
  });
}

test("what is forgotten is read anew; what is open or has something unsent is not forgotten", () => {
  const { chat, line, answer, contents } = conversation();
  chat.open();
  answer("conversation:open", snapshot("1", [message("a", 1)]));
  chat.forget();
  assert.deepEqual(contents(), ["a"]);
  chat.close();
  answer("conversation:close", {});
  line.up = false;
  const id = chat.send("b");
  chat.forget();
  assert.deepEqual(contents(), ["a", "b"]);
  chat.discard(id);
  chat.forget();
  assert.deepEqual(contents(), []);
  line.up = true;
  chat.open();
  assert.equal(answer("conversation:open", snapshot("9", [message("a", 1)])).after, undefined);
  assert.deepEqual(contents(), ["a"]);
});

test("opened twice it is left at the second close, and goes on when opened again", () => {
  const { chat, calls, answer } = conversation();
  chat.open();
  chat.open();
  answer("conversation:open", snapshot("1", [message("a", 1)]));
  chat.close();
  assert.equal(calls.length, 0);
  chat.close();
  answer("conversation:close", {});
  chat.open();
  assert.equal(chat.state.get().status, "ready");
  assert.equal(answer("conversation:open", replayed("1")).after, "1");
});

test("one that is missing says so, and sends nothing", () => {
  const { chat, calls, refuse } = conversation();
  chat.send("Hello!");
  refuse("conversation:open", "not_found");
  const { status, messages } = chat.state.get();
  assert.equal(status, "missing");
  assert.deepEqual([messages[0].status, messages[0].error.code], ["failed", "not_found"]);
  assert.equal(calls.length, 0);
});

test("what a new one is answered with is said when it begins, and later by a call", async () => {
  const { chat, calls, answer } = conversation(true);
  chat.open();
  await chat.configure({ model: "large" });
  assert.deepEqual(chat.state.get().choice, { model: "large", systemPrompt: null });
  assert.equal(calls.length, 0);
  chat.send("Hello!");
  assert.deepEqual(answer("conversation:create", { conversation: {} }), {
    conversation_id: "c",
    model: "large",
  });
  answer("conversation:open", { ...snapshot("1"), conversation: { model: "large" } });
  answer("message:send", { message: message("q", 1) });
  const configured = chat.configure({ model: null, systemPrompt: "pirate" });
  const told = { conversation: { model: null, system_prompt: "pirate" } };
  assert.deepEqual(answer("conversation:configure", told), {
    ...{ conversation_id: "c", model: "", system_prompt: "pirate" },
  });
  await configured;
  assert.deepEqual(chat.state.get().choice, { model: null, systemPrompt: "pirate" });
});

test("a message far back is found by pages, and one that is not there is not", async () => {
  const { chat, answer, contents } = conversation();
  chat.open();
  answer("conversation:open", snapshot("1", [message("z", 401)]));
  const found = chat.find("b");
  assert.equal(answer("conversation:history", { messages: [message("y", 201)], has_more: true }).limit, 200);
  await new Promise(setImmediate);
  answer("conversation:history", { messages: [message("a", 1), message("b", 3)], has_more: true });
  assert.equal(await found, true);
  assert.deepEqual(contents(), ["a", "b", "y", "z"]);
  assert.equal(await chat.find("y"), true);
  const missing = chat.find("nowhere");
  answer("conversation:history", { messages: [], has_more: false });
  assert.equal(await missing, false);
});

test("images go out as they are, and are shown before and after", async () => {
  const { chat, answer } = conversation();
  chat.open();
  answer("conversation:open", snapshot("1"));
  const data = Uint8Array.from([1, 2, 3]);
  chat.send("Look!", { attachments: [{ mediaType: "image/png", data }] });
  const [{ attachments }] = chat.state.get().messages;
  assert.deepEqual([attachments[0].mediaType, attachments[0].size], ["image/png", 3]);
  const image = await chat.attachment(attachments[0].id);
  assert.deepEqual(new Uint8Array(await image.arrayBuffer()), data);
  const sent = answer("message:send", { message: message("q", 1) });
  assert.deepEqual(sent.attachments, [{ type: "image", media_type: "image/png", data }]);
  const later = chat.attachment("a1");
  const told = { attachment: { id: "a1", media_type: "image/png" }, data: "AQID" };
  assert.equal(answer("attachment:get", told).attachment_id, "a1");
  assert.deepEqual(new Uint8Array(await (await later).arrayBuffer()), data);
});

test("a message that is refused for hours waits for its author", () => {
  const { chat, calls, answer } = conversation();
  chat.open();
  answer("conversation:open", snapshot("1"));
  chat.send("Hello!");
  const error = { code: "rate_limited", message: "Used up.", retryable: true, retry_after: 3600 };
  calls.shift().done({ ok: false, error });
  const [{ id, status }] = chat.state.get().messages;
  assert.equal(status, "failed");
  chat.retry(id);
  assert.equal(answer("message:send", { message: message(id, 1) }).message_id, id);
});
