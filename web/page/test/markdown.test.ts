// Run by tests/web/test_page_parts.py, which has it bundled first: node --test.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Token } from "marked";
import { Blocks } from "../src/markdown/blocks.ts";
import { resolved } from "../src/markdown/entities.ts";
import { safeAddress } from "../src/markdown/links.ts";
import { sentencesOf } from "../src/sentences.ts";

const PIECES = [
  ..."a|b |x^2|é|😀|\n|\n|\n\n|- |* |+ |1. |2) |#|# |## x|> |    |\t|  | |```|```py\n|~~~|---|***|===".split("|"),
  ..."<div> </div> <!-- --> <pre> </pre> <b> [x] [a]: (http://y) ` ** _ $$ $ \\[ \\] \\( \\) \\ &lt; [^1]".split(" "),
  "|", "|a|b|\n", "|-|-|\n", "[a]: http://x\n", "![i](z)", "https://e.org", "- [ ] ", "\r\n",
];
// The same texts in each run of the tests; SEED=7 TEXTS=10000 tries others.
const SEED = Number(process.env.SEED ?? 1);
const TEXTS = Number(process.env.TEXTS ?? 300);

function chance(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return Math.floor((state / 0x80000000) * below);
  };
}

test("a text that grows is read as it would be at once", () => {
  const next = chance(SEED);
  for (let texts = 0; texts < TEXTS; texts++) {
    const growing = new Blocks();
    let text = "";
    for (let count = 3 + next(40); count > 0; count--) {
      text += PIECES[next(PIECES.length)];
      const whole = new Blocks().update(text);
      assert.deepEqual(growing.update(text), whole, JSON.stringify(text));
    }
  }
});

test("what can't change any more stays the same object", () => {
  const blocks = new Blocks();
  const [first] = blocks.update("# One\n\nTwo\n\nThree begins");
  const later = blocks.update("# One\n\nTwo\n\nThree begins, and\ngoes on.\n\nFour");
  assert.equal(later[0], first);
});

test("code that looks like a link's address keeps nothing from staying", () => {
  const code = "```ts\n[name: string]: unknown\n```\n\nNames[0]: and values[1]: more.\n\n";
  const blocks = new Blocks();
  const [first] = blocks.update(`# One\n\n${code}Three begins`);
  assert.equal(blocks.update(`# One\n\n${code}Three begins.\n\nFour`)[0], first);
});

test("a link whose address comes later is found", () => {
  const blocks = new Blocks();
  blocks.update("See [it].\n\nMore.\n\n");
  const [paragraph] = blocks.update("See [it].\n\nMore.\n\n[it]: https://example.com\n");
  const link = (paragraph as { tokens: Token[] }).tokens.find(({ type }) => type === "link");
  assert.equal((link as { href: string }).href, "https://example.com");
});

test("mathematics is told from money", () => {
  const maths = (text: string) => JSON.stringify(new Blocks().update(text)).split('"type":"math"').length - 1;
  assert.equal(maths("It costs $5, or $6 with milk."), 0);
  assert.equal(maths("$x$ and \\(y\\) and\n\n$$\na\n- b\n= c\n$$\n\n\\[z\\]"), 4);
  assert.equal(maths("`$x$`\n\n```\n$$y$$\n```"), 0);
});

test("what an attacker writes takes no time", () => {
  const n = 20_000;
  const texts = [
    ..."[|[](|*a |a*|_a|<|<a |![|$a|$$|\\[|\\(a|&|a**b|http://a.|a@b.|~a|> |>|- |- - |`".split("|").map((each) => each.repeat(n)),
    Array.from({ length: 300 }, (_, depth) => `${"  ".repeat(depth)}- a`).join("\n"),
    Array.from({ length: 300 }, (_, length) => `${"`".repeat(length)}a`).join(""),
    `[a](${"(".repeat(n)}`,
  ];
  for (const text of texts) {
    const begun = performance.now();
    new Blocks().update(text);
    sentencesOf(text, 0, true);
    const took = performance.now() - begun;
    assert.ok(took < 1500, `${text.slice(0, 20)}: ${took} ms`);
  }
});

test("character references are resolved, the known ones", () => {
  assert.equal(resolved("&lt;b&gt; &amp;amp; &#65;&#x42; &nosuch; &#0; & &constructor;"), "<b> &amp; AB &nosuch; \ufffd & &constructor;");
});

test("only safe addresses may be followed", () => {
  assert.equal(safeAddress("https://example.com/a b"), "https://example.com/a%20b");
  assert.equal(safeAddress("mailto:ada@example.com"), "mailto:ada@example.com");
  for (const bad of ["javascript:x", " JaVaScRiPt:x", "java\nscript:x", "data:text/html,x", "//evil.example", "/a", "vbscript:x", "blob:https://a/b", ""]) {
    assert.equal(safeAddress(bad), null, bad);
  }
});

test("whole sentences are said, without the marks", () => {
  assert.deepEqual(sentencesOf("**One** [two](https://x.y). Half", 0, false), { words: "One two.", length: 27 });
  assert.deepEqual(sentencesOf("One. Half", 4, true), { words: "Half", length: 9 });
  assert.equal(sentencesOf("```py\nx = 1\n```\n# Title\n", 0, false).words, "x = 1 Title");
  assert.equal(sentencesOf("一。二", 0, false).words, "一。");
});
