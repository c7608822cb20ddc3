import assert from "node:assert/strict";
import { test } from "node:test";
import { isValidElement } from "react";
import type { MessageView, ToolUse } from "mnemosio-client";
import { givenOf } from "../src/context/given.ts";
import { marked, near } from "../src/search/marked.tsx";
import { plain } from "../src/sentences.ts";
import { partsOf } from "../src/tools/parts.ts";
import { wordsOf } from "../src/tools/words.ts";

const use = (id: string, at: number): ToolUse => ({
  ...{ id, name: "look_up", status: "finished", input: null, output: null, at },
});
const answer = (content: string, ...tools: ToolUse[]) => ({ content, tools }) as unknown as MessageView;
const parted = (message: MessageView) => partsOf(message).map(({ uses, text }) => [uses.map(({ id }) => id).join(), text]);

test("an answer is parted where tools were used", () => {
  assert.deepEqual(parted(answer("All of it.")), [["", "All of it."]]);
  assert.deepEqual(parted(answer("", use("a", 0))), [["a", ""]]);
  assert.deepEqual(parted(answer("One. Two.", use("a", 0), use("b", 5), use("c", 5))), [
    ["a", "One. "],
    ["b,c", "Two."],
  ]);
  // The text was told anew, and is shorter.
  assert.deepEqual(parted(answer("One.", use("a", 99))), [
    ["", "One."],
    ["a", ""],
  ]);
});

test("tools are told by their names, and those that are known in words", () => {
  assert.equal(wordsOf({ name: "look_up", status: "started" }), "Using look up …");
  assert.equal(wordsOf({ name: "look_up", status: "started" }, true), "Used look up (cut short)");
  assert.equal(wordsOf({ name: "look_up", status: "failed" }), "look up failed");
});

const marks = (text: string, query: string) =>
  marked(text, query)
    .filter(isValidElement<{ children: string }>)
    .map(({ props }) => props.children);

test("what was sought is marked, whatever its case, its accents and its ending", () => {
  assert.deepEqual(marks("The Cafés of Trieste, a café.", "cafe"), ["Cafés", "café"]);
  assert.deepEqual(marks("We plant a tree.", "planting trees"), ["plant", "tree"]);
  assert.deepEqual(marks("<b>bold</b> (.*)", "(.*) <b>"), ["b", "bold", "b"]);
  assert.equal(marked("nothing here", "else").join(""), "nothing here");
});

test("what was found is shown from shortly before it", () => {
  assert.equal(near("A tree.", "tree"), "A tree.");
  const long = near(`${"word ".repeat(20)}and the tree is here`, "tree");
  assert.equal(long, "…word word word word word word and the tree is here");
  assert.equal(near(`${"\u{1F333}".repeat(30)} tree`, "tree"), "…tree");
  assert.equal(near(`${"\u{1F333}".repeat(30)}!tree`, "tree"), `…${"\u{1F333}".repeat(19)}!tree`);
  assert.equal(near("word ".repeat(20), "else"), "word ".repeat(20));
});

test("a name keeps its underscores where Markdown's marks are left out", () => {
  assert.equal(plain("Set **OPENAI_API_KEY**, _now_ and __here__: `a_b`."), "Set OPENAI_API_KEY, now and here: a_b.");
});

test("whatever was kept of a context can be read", () => {
  for (const told of [{}, { tokens: 7, summary: "x", window: null, tools: {}, left_out: [1], facts: [null] }]) {
    assert.deepEqual(givenOf(told as Record<string, unknown>).parts, []);
  }
  const given = givenOf({ tokens: { total: 6, window: 2, own: 1, system: 3, summary: 0 }, budget: null });
  assert.deepEqual(given.parts, [
    ["system", 3],
    ["window", 2],
    ["own", 1],
  ]);
  assert.deepEqual([given.total, given.budget], [6, null]);
});
