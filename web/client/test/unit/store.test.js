import assert from "node:assert/strict";
import { test } from "node:test";
import { Observable } from "../../dist/store.js";

test("listeners are told of changes, of nothing else, and until they leave", () => {
  const store = new Observable({ a: 1, b: 2 });
  let told = 0;
  const leave = store.subscribe(() => (told += 1));
  const before = store.get();
  store.update({ a: 1 });
  assert.equal(store.get(), before);
  store.update({ a: 3 });
  assert.deepEqual(store.get(), { a: 3, b: 2 });
  leave();
  store.update({ a: 4 });
  assert.equal(told, 1);
});
