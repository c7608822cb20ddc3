import assert from "node:assert/strict";
import { test } from "node:test";
import { Kept } from "../../dist/kept.js";

function memory() {
  const items = new Map();
  const storage = {
    ...{ items, full: false },
    getItem: (key) => items.get(key) ?? null,
    setItem(key, value) {
      if (storage.full) throw new Error("full");
      items.set(key, value);
    },
    removeItem: (key) => items.delete(key),
  };
  return storage;
}

test("without a storage it is kept nevertheless, until it is taken away", () => {
  const forbidden = () => {
    throw new Error("no");
  };
  for (const storage of [null, { getItem: forbidden, setItem: forbidden, removeItem: forbidden }]) {
    const kept = new Kept(storage);
    assert.equal(kept.get("a"), null);
    kept.set("a", "1");
    assert.equal(kept.get("a"), "1");
    kept.set("a", null);
    assert.equal(kept.get("a"), null);
  }
});

test("what a full storage did not take is newer than what it has, until it takes something", () => {
  const storage = memory();
  const kept = new Kept(storage);
  kept.set("a", "1");
  storage.full = true;
  kept.set("a", "2");
  assert.equal(kept.get("a"), "2");
  assert.equal(storage.items.get("a"), "1");
  storage.full = false;
  kept.set("a", "3");
  storage.setItem("a", "another tab's");
  assert.equal(kept.get("a"), "another tab's");
});

test("each server's things are apart, and the page's own have plain names", () => {
  const storage = memory();
  const all = [undefined, "http://a", "http://b"].map((url) => new Kept(storage, url));
  all.forEach((kept, index) => kept.set("k", `${index}`));
  assert.deepEqual(all.map((kept) => kept.get("k")), ["0", "1", "2"]);
  assert.deepEqual([...storage.items.keys()], ["k", "http://a k", "http://b k"]);
  all[1].set("k", null);
  assert.deepEqual(all.map((kept) => kept.get("k")), ["0", null, "2"]);
});
