import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ask, call } from "../../dist/calls.js";
import { CallFailure } from "../../dist/errors.js";

const refusal = (code, retryable, more) => ({
  ok: false,
  error: { code, message: code, retryable, ...more },
});

/** A connection that answers as scripted: null is no answer, undefined leaves the call open. */
function scripted(...answers) {
  const watchers = new Set();
  const line = {
    ...{ up: true, end: null, sent: [] },
    emit(name, fields, done) {
      line.sent.push(fields);
      const answer = answers.shift();
      if (answer !== undefined) setTimeout(done, 0, answer);
    },
    watch: (watcher) => (watchers.add(watcher), () => watchers.delete(watcher)),
    changed: (fields) => (Object.assign(line, fields), watchers.forEach((each) => each())),
    watchers,
  };
  return line;
}

test("a call is repeated unchanged while that may help, when it is asked to", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  try {
    const later = refusal("rate_limited", true, { retry_after: 7 });
    const line = scripted(later, { ok: true, turn: {} });
    const fields = { conversation_id: "c", turn_id: "t" };
    const asked = ask(line, "turn:stop", fields);
    mock.timers.tick(0);
    mock.timers.tick(6999);
    assert.equal(line.sent.length, 1);
    mock.timers.tick(1);
    assert.deepEqual(line.sent, [fields, fields]);
    mock.timers.tick(0);
    await asked;
    assert.equal(line.watchers.size, 0);
  } finally {
    mock.timers.reset();
  }
});

test("what can't help is not repeated", async () => {
  for (const code of ["conflict", "busy"]) {
    const line = scripted(refusal(code, code === "busy", { field: "x" }));
    await assert.rejects(ask(line, "conversation:list", {}), (error) => {
      assert.ok(error instanceof CallFailure);
      assert.equal(error.code, code);
      assert.equal(error.field, "x");
      return true;
    });
    assert.equal(line.sent.length, 1);
  }
});

test("a call waits for a connection, and is repeated at once on the next", async () => {
  const line = scripted(null, { ok: true });
  line.up = false;
  const asked = ask(line, "conversation:list", {});
  assert.equal(line.sent.length, 0);
  line.changed({ up: true });
  assert.equal(line.sent.length, 1);
  line.up = false; // lost with its connection
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(line.sent.length, 1);
  line.changed({ up: true });
  await asked;
  assert.equal(line.sent.length, 2);
});

test("patience ends, and so does hope", async () => {
  const line = scripted();
  line.up = false;
  const short = ask(line, "conversation:list", {}, { patience: 10 });
  await assert.rejects(short, { code: "unavailable" });
  const asked = ask(line, "conversation:list", {});
  line.changed({ end: { code: "unauthorized", message: "No.", retryable: false } });
  await assert.rejects(asked, { code: "unauthorized" });
  assert.equal(line.watchers.size, 0);
});

test("the answer is told within the acknowledgement", () => {
  const line = scripted();
  let told = false;
  line.emit = (name, fields, done) => (line.done = done);
  call(line, "conversation:list", {}, () => (told = true));
  line.done({ ok: true });
  assert.ok(told);
});

test("what is ended is not answered", () => {
  const line = scripted();
  line.emit = (name, fields, done) => (line.done = done);
  const cancel = call(line, "conversation:list", {}, () => assert.fail());
  cancel();
  line.done({ ok: true });
  assert.equal(line.watchers.size, 0);
});

test("what would end the connection is never sent", async () => {
  const line = scripted();
  const fields = { conversation_id: "c", title: "é".repeat(600_000) };
  await assert.rejects(ask(line, "conversation:rename", fields), { code: "too_large" });
  assert.equal(line.sent.length, 0);
});

test("what is binary counts by itself, all of it together", async () => {
  const image = (size) => ({ type: "image", media_type: "image/png", data: new Uint8Array(size) });
  const fields = (...sizes) => ({ message_id: "m", content: "x", attachments: sizes.map(image) });
  const line = scripted({ ok: true });
  await ask(line, "message:send", { ...fields(700_000, 200_000), content: "x".repeat(500_000) });
  assert.equal(line.sent.length, 1);
  await assert.rejects(ask(line, "message:send", fields(700_000, 300_000)), { code: "too_large" });
  assert.equal(line.sent.length, 1);
});

test("what is refused for longer than anybody waits fails at once", async () => {
  const line = scripted(refusal("rate_limited", true, { retry_after: 3600 }));
  await assert.rejects(ask(line, "user:usage", {}), { code: "rate_limited", retryAfter: 3600 });
  assert.equal(line.sent.length, 1);
});
