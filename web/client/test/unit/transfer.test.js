import assert from "node:assert/strict";
import { test } from "node:test";
import { exported, imported, piecesOf } from "../../dist/transfer.js";

/** A connection whose answers a function makes of the fields. */
function answering(answer) {
  const line = {
    ...{ up: true, end: null, sent: [] },
    emit(name, fields, done) {
      line.sent.push(fields);
      setTimeout(done, 0, { ok: true, ...answer(fields) });
    },
    watch: () => () => {},
  };
  return line;
}

test("the pieces of an export are joined", async () => {
  const line = answering(({ after }) => ({
    content: after ? "two" : "one ",
    ...{ media_type: "text/markdown", file_name: "a.md", next: after ? null : "2" },
  }));
  const file = await exported(line, "c", "markdown");
  assert.deepEqual(file, { content: "one two", mediaType: "text/markdown", name: "a.md" });
  assert.deepEqual(line.sent.map(({ after }) => after), [undefined, "2"]);
});

test("an export is begun anew where the conversation was edited meanwhile", async () => {
  const changed = { ok: false, error: { code: "conflict", message: "x", retryable: false } };
  const rest = { media_type: "text/markdown", file_name: "a.md" };
  const answers = [
    { content: "old ", ...rest, next: "2" },
    changed,
    { content: "new", ...rest, next: null },
  ];
  const file = await exported(answering(() => answers.shift()), "c", "markdown");
  assert.equal(file.content, "new");
  await assert.rejects(exported(answering(() => changed), "c", "json"), { code: "conflict" });
});

test("a document is taken in by pieces that fit, each with its head, in order", async () => {
  const messages = Array.from({ length: 10 }, (_, index) => ({ content: `${index}`.repeat(50) }));
  const document = { format: "x", title: "T", messages };
  const pieces = piecesOf(document, 200);
  assert.ok(pieces.length > 3);
  assert.deepEqual(pieces.flatMap((piece) => piece.messages), messages);
  for (const piece of pieces) assert.deepEqual([piece.format, piece.title], ["x", "T"]);
  const line = answering(() => ({ imported: 0 }));
  const shares = [];
  const id = await imported(line, document, (share) => shares.push(share));
  assert.deepEqual(line.sent, [{ conversation_id: id, document }]);
  assert.deepEqual(shares, [1]);
});

test("an empty conversation is one piece, and nothing else is a conversation", () => {
  assert.deepEqual(piecesOf({ messages: [] }), [{ messages: [] }]);
  for (const other of [null, 7, "text", [], {}, { messages: "none" }]) {
    assert.throws(() => piecesOf(other), TypeError);
  }
});
