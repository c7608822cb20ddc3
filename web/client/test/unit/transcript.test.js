import assert from "node:assert/strict";
import { test } from "node:test";
import {
  EMPTY,
  hasEarlier,
  firstPlace,
  withEvent,
  withFeedback,
  withPage,
  withSnapshot,
} from "../../dist/transcript.js";

const at = "2026-01-01T00:00:00.000Z";
const message = (id, seq, more = {}) => ({
  ...{ id, conversation_id: "c", seq, role: "user", content: id, status: "complete" },
  ...{ turn_id: `t-${id}`, created_at: at, ...more },
});
const answer = (id, seq, question) =>
  message(id, seq, { role: "assistant", turn_id: `t-${question}` });
let moment = 0;
const event = (name, fields) => ({ name, conversation_id: "c", cursor: `${++moment}`, ...fields });
const taken = (...events) => events.reduce((told, each) => told && withEvent(told, each), EMPTY);
const created = (id, seq) => event("message:created", { message: message(id, seq) });
const queued = (id) => event("turn:queued", { turn_id: `t-${id}`, message_id: id });
const started = (id, attempt = 1) =>
  event("turn:started", { turn_id: `t-${id}`, attempt, message_id: id });
const delta = (id, index, text, attempt = 1) =>
  event("turn:delta", { turn_id: `t-${id}`, attempt, index, text });
const snapshot = (messages, turns = []) => ({ messages, turns, cursor: `${++moment}` });
const contents = ({ views }) => views.map(({ content }) => content);
const keys = ({ views }) => views.map(({ key }) => key);

test("deltas are joined, and only what changed is a new object", () => {
  const before = taken(created("q", 1), queued("q"), started("q"), delta("q", 0, "a"));
  const after = withEvent(before, delta("q", 1, "b"));
  assert.deepEqual(contents(after), ["q", "ab"]);
  assert.equal(after.views[0], before.views[0]);
  assert.equal(before.views[1].content, "a");
});

test("a gap, a repetition or another attempt's delta is told as such", () => {
  const told = taken(created("q", 1), queued("q"), started("q"), delta("q", 0, "a"));
  assert.equal(withEvent(told, delta("q", 2, "c")), null);
  assert.equal(withEvent(told, delta("q", 0, "a")), null);
  assert.equal(withEvent(told, delta("q", 1, "b", 2)), null);
  assert.equal(withEvent(EMPTY, delta("unknown", 0, "a")), null);
});

test("another attempt begins with nothing", () => {
  const events = [created("q", 1), queued("q"), started("q"), delta("q", 0, "half")];
  const told = taken(...events, started("q", 2), delta("q", 0, "whole", 2));
  assert.deepEqual(contents(told), ["q", "whole"]);
  assert.equal(told.views[1].attempt, 2);
});

test("an answer stands behind its question, also where the next came before it", () => {
  const told = taken(created("a", 1), queued("a"), created("b", 3), queued("b"), started("a"));
  assert.deepEqual(keys(told), ["a", "t-a", "b", "t-b"]);
});

test("what has no place yet stands last, in its order, until it is told one", () => {
  let told = taken(created("a", null), queued("a"), started("a"), created("b", null), queued("b"));
  assert.deepEqual(keys(told), ["a", "t-a", "b", "t-b"]);
  told = withEvent(told, event("message:stored", { message_id: "a", seq: 1 }));
  assert.deepEqual(told.views.map(({ seq }) => seq), [1, 2, null, null]);
  told = withEvent(told, event("turn:completed", { turn_id: "t-a", message: answer("x", 2, "a") }));
  told = withEvent(told, event("message:stored", { message_id: "b", seq: 3 }));
  assert.deepEqual(keys(told), ["a", "t-a", "b", "t-b"]);
});

test("with a question goes the answer that never came", () => {
  const told = taken(
    ...[created("a", 1), queued("a"), created("b", 3), queued("b")],
    event("turn:stopped", { turn_id: "t-b", message: null }),
    event("message:removed", { message_ids: ["b"] }),
  );
  assert.deepEqual(keys(told), ["a", "t-a"]);
});

test("a question that is answered anew has one answer", () => {
  const told = taken(
    ...[created("a", 1), queued("a"), started("a")],
    event("turn:failed", { turn_id: "t-a", message: null, error: { code: "internal" } }),
    event("message:removed", { message_ids: [] }),
    event("turn:queued", { turn_id: "again", message_id: "a" }),
  );
  assert.deepEqual(keys(told), ["a", "again"]);
  assert.equal(told.views[0].turnId, "again");
});

test("a snapshot tells what runs, and the next delta follows on it", () => {
  const turn = { id: "t-q", status: "running", attempt: 2, text: "so ", next_index: 3 };
  const told = withSnapshot(EMPTY, snapshot([message("q", 1)], [turn]));
  assert.deepEqual(contents(withEvent(told, delta("q", 3, "far", 2))), ["q", "so far"]);
  assert.equal(withEvent(told, delta("q", 2, "far", 2)), null);
});

const seven = [1, 2, 3, 4, 5, 6, 7].map((seq) =>
  seq % 2 ? message(`m${seq}`, seq) : answer(`m${seq}`, seq, `m${seq - 1}`),
);

test("pages come before what is known, until there are no earlier ones", () => {
  let told = withSnapshot(EMPTY, snapshot(seven.slice(5)));
  assert.ok(hasEarlier(told));
  assert.equal(firstPlace(told), 6);
  told = withPage(told, { messages: seven.slice(2, 5), has_more: true });
  told = withPage(told, { messages: seven.slice(0, 2), has_more: false });
  assert.deepEqual(contents(told), ["m1", "m2", "m3", "m4", "m5", "m6", "m7"]);
  assert.ok(!hasEarlier(told));
});

test("what was paged in stays over a snapshot that follows on it, and the same objects", () => {
  let told = withSnapshot(EMPTY, snapshot(seven.slice(5)));
  told = withPage(told, { messages: seven.slice(0, 5), has_more: false });
  const after = withSnapshot(told, snapshot(seven.slice(5)));
  assert.deepEqual(after.views, told.views);
  after.views.forEach((view, index) => assert.equal(view, told.views[index]));
  assert.ok(!hasEarlier(after));
});

test("what was paged in goes where the snapshot does not follow on it", () => {
  let told = withSnapshot(EMPTY, snapshot(seven.slice(3)));
  told = withPage(told, { messages: seven.slice(0, 3), has_more: false });
  const rewritten = [message("n5", 5), answer("n6", 6, "n5")];
  const after = withSnapshot(told, snapshot(rewritten));
  assert.deepEqual(contents(after), ["n5", "n6"]);
  assert.ok(hasEarlier(after));
});

const used = (id, fields, attempt = 1) =>
  event("turn:tool", { turn_id: `t-${id}`, attempt, tool: { name: "look", ...fields } });
const begun = [created("q", 1), queued("q"), started("q"), delta("q", 0, "First. ")];

test("tools stand where in the text they were used, and are brought up to date in their place", () => {
  const told = taken(
    ...begun,
    used("q", { id: "1", status: "started", input: { query: "x" } }),
    used("q", { id: "2", status: "started" }),
    delta("q", 1, "Then. "),
    used("q", { id: "1", status: "finished", output: "found" }),
    used("q", { id: "3", status: "failed", output: "no" }),
  );
  assert.deepEqual(told.views[1].tools, [
    { id: "1", name: "look", status: "finished", input: { query: "x" }, output: "found", at: 7 },
    { id: "2", name: "look", status: "started", input: null, output: null, at: 7 },
    { id: "3", name: "look", status: "failed", input: null, output: "no", at: 13 },
  ]);
  const message = { ...answer("x", 2, "q"), content: "First. Then. " };
  const over = withEvent(told, event("turn:completed", { turn_id: "t-q", message }));
  assert.equal(over.views[1].tools, told.views[1].tools);
  const again = withSnapshot(over, snapshot([message]));
  assert.equal(again.views[1].tools, told.views[1].tools);
});

test("another attempt has used nothing yet, and an earlier one's tools are a gap", () => {
  const told = taken(...begun, used("q", { id: "1", status: "started" }), started("q", 2));
  assert.equal(told.views[1].tools, undefined);
  assert.equal(withEvent(told, used("q", { id: "2", status: "started" }, 1)), null);
  assert.equal(withEvent(EMPTY, used("q", { id: "2", status: "started" })), null);
});

test("a snapshot tells what was used, where it was where that is known", () => {
  const told = taken(...begun, used("q", { id: "1", status: "started", input: { a: 1 } }));
  const tools = [
    { id: "1", name: "look", status: "finished", input: { a: 1 }, output: "found" },
    { id: "2", name: "look", status: "started" },
  ];
  const turn = { id: "t-q", status: "running", attempt: 1, text: "First. ", next_index: 1, tools };
  const places = ({ views }) => views[1].tools.map(({ id, at, status }) => [id, at, status]);
  const known = withSnapshot(told, snapshot([message("q", 1)], [turn]));
  assert.deepEqual(places(known), [["1", 7, "finished"], ["2", 0, "started"]]);
  const anew = withSnapshot(told, snapshot([message("q", 1)], [{ ...turn, attempt: 2 }]));
  assert.deepEqual(places(anew), [["1", 0, "finished"], ["2", 0, "started"]]);
});

test("what is thought of an answer comes and goes, and is the same object while it stays", () => {
  const shown = (feedback) => withSnapshot(EMPTY, snapshot([{ ...seven[1], feedback }]));
  const before = shown({ value: 1, comment: "Good." });
  assert.deepEqual(before.views[0].feedback, { value: 1, comment: "Good." });
  const same = withSnapshot(before, snapshot([{ ...seven[1], feedback: { value: 1, comment: "Good." } }]));
  assert.equal(same.views[0], before.views[0]);
  const none = withSnapshot(before, snapshot([seven[1]]));
  assert.equal(none.views[0].feedback, undefined);
  const down = withFeedback(before, "m2", { value: -1, comment: null });
  assert.deepEqual(down.views[0].feedback, { value: -1, comment: null });
  assert.equal("feedback" in withFeedback(down, "m2", null).views[0], false);
  assert.equal(withFeedback(down, "unknown", null), down);
});

test("images stand with their message, as the same objects while they stay", () => {
  const attachments = [{ id: "a", type: "image", media_type: "image/png", size: 3 }];
  const told = () => snapshot([{ ...seven[0], attachments: structuredClone(attachments) }]);
  const before = withSnapshot(EMPTY, told());
  assert.deepEqual(before.views[0].attachments, [{ id: "a", mediaType: "image/png", size: 3 }]);
  assert.equal(withSnapshot(before, told()).views[0], before.views[0]);
});
