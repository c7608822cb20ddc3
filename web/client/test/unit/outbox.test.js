import assert from "node:assert/strict";
import { test } from "node:test";
import { Kept } from "../../dist/kept.js";
import { Outbox } from "../../dist/outbox.js";

function memory() {
  const items = new Map();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, value),
    removeItem: (key) => items.delete(key),
    items,
  };
}
const unsent = (id) => ({
  ...{ id, conversationId: "c", content: id, ifBusy: "queue", at: "", begins: false },
  ...{ error: null, doubtful: false },
});
const ids = (outbox) => outbox.of("c").map(({ id }) => id);
function begun(storage, userId) {
  const outbox = new Outbox(new Kept(storage));
  if (userId) outbox.adopt(userId);
  return outbox;
}

test("what is unsent is there after a reload, as what may have been sent before", () => {
  const storage = memory();
  begun(storage, "u").add(unsent("a"));
  const outbox = begun(storage, "u");
  assert.deepEqual(outbox.of("c"), [{ ...unsent("a"), doubtful: true }]);
  outbox.remove("a");
  assert.deepEqual([...storage.items.keys()], ["mnemosio.user"]);
});

test("what was written before the server said who is here is kept too, behind the older", () => {
  const storage = memory();
  begun(storage, "u").add(unsent("a"));
  begun(storage).add(unsent("b"));
  const outbox = begun(storage);
  outbox.add(unsent("c"));
  outbox.adopt("u");
  assert.deepEqual(ids(outbox), ["a", "b", "c"]);
  assert.deepEqual(ids(begun(storage, "u")), ["a", "b", "c"]);
});

test("nobody is given what another user wrote", () => {
  const storage = memory();
  const outbox = begun(storage, "u");
  outbox.add(unsent("a"));
  outbox.adopt("v");
  assert.deepEqual(ids(outbox), []);
  outbox.add(unsent("b"));
  assert.deepEqual(ids(begun(storage, "u")), ["a"]);
  const early = begun(storage); // it was u who was here last
  early.add(unsent("c"));
  early.adopt("v");
  assert.deepEqual(ids(early), ["b", "c"]);
  assert.deepEqual(ids(begun(storage, "u")), ["a"]);
});

test("what one tab got rid of does not come back from another", () => {
  const storage = memory();
  const one = begun(storage, "u");
  one.add(unsent("a"));
  const two = begun(storage, "u");
  two.add(unsent("b"));
  one.remove("a");
  two.change("a", { doubtful: true });
  assert.deepEqual(ids(begun(storage, "u")), ["b"]);
});

test("a storage that is full, forbidden or damaged is as none", () => {
  const forbidden = () => {
    throw new Error("no");
  };
  const outbox = begun({ getItem: forbidden, setItem: forbidden, removeItem: forbidden }, "u");
  outbox.add(unsent("a"));
  assert.deepEqual(ids(outbox), ["a"]);
  const storage = memory();
  storage.setItem("mnemosio.outbox.u", "{nonsense");
  assert.deepEqual(ids(begun(storage, "u")), []);
});

const png = (...bytes) => ({ mediaType: "image/png", data: Uint8Array.from(bytes) });
const withImages = (id, ...images) => ({
  ...unsent(id),
  images: images.map(({ mediaType, data }) => ({ mediaType, size: data.length })),
});

test("images are there after a reload, and leave nothing behind", () => {
  const storage = memory();
  const images = [png(0, 255, 7), png()];
  begun(storage, "u").add(withImages("a", ...images), images);
  const outbox = begun(storage, "u");
  assert.deepEqual(outbox.imagesOf("a"), images);
  assert.equal(outbox.of("c")[0].error, null);
  outbox.remove("a");
  assert.deepEqual([...storage.items.keys()], ["mnemosio.user"]);
});

test("a message whose images there was no room for waits for its author after a reload", () => {
  const storage = memory();
  const { setItem } = storage;
  storage.setItem = (key, value) => {
    if (key.startsWith("mnemosio.images.")) throw new Error("full");
    setItem(key, value);
  };
  const outbox = begun(storage, "u");
  outbox.add(withImages("a", png(1)), [png(1)]);
  assert.deepEqual(outbox.imagesOf("a"), [png(1)]);
  const reloaded = begun(storage, "u");
  assert.equal(reloaded.of("c")[0].error.code, "lost");
  assert.deepEqual(reloaded.imagesOf("a"), []);
  assert.equal(reloaded.lossOf(reloaded.of("c")[0]).code, "lost"); // also where it is tried again
  assert.equal(outbox.lossOf(outbox.of("c")[0]), null);
});
