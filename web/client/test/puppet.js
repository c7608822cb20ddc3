// A tab that a test drives: evaluates each line of its input, and prints what that gives.
//   node puppet.js <url> <storage folder> <JSON: further options of connect>
// What the lines see: `client`, `chat` (the conversation that is shown), `wait`, `history`, `kept`.

import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect } from "../dist/index.js";

const [url, folder, more] = process.argv.slice(2);

// As localStorage: shared by all tabs, and still there after a reload. Each key is a file, which is
// there whole or not at all, as a key of localStorage is: other tabs are other processes.
mkdirSync(folder, { recursive: true });
const at = (key) => join(folder, encodeURIComponent(key));
const storage = {
  getItem: (key) => (existsSync(at(key)) ? readFileSync(at(key), "utf8") : null),
  setItem(key, value) {
    const written = `${at(key)}.${process.pid}`;
    writeFileSync(written, value);
    renameSync(written, at(key));
  },
  removeItem: (key) => rmSync(at(key), { force: true }),
};

// `tokens` are given one after the other, the last one for ever. A `served` page is the server's
// own, and connects to where it is from.
const { tokens, served, ...options } = JSON.parse(more);
if (tokens) options.token = async () => (tokens.length > 1 ? tokens.shift() : tokens[0]);
if (served) globalThis.location = new URL(url);
const client = connect({ ...(served ? {} : { url }), storage, ...options });
const kept = (key) => storage.getItem(served ? key : `${url} ${key}`);
const history = {}; // of each message, all that was ever shown of it: [status, attempt, content]
let chat;

function show(conversation) {
  chat = conversation;
  chat.open();
  chat.state.subscribe(() => {
    for (const { key, status, attempt, content } of chat.state.get().messages) {
      const told = (history[key] ??= []);
      const now = JSON.stringify([status, attempt, content]);
      if (told.at(-1) !== now) told.push(now);
    }
  });
  return chat.id;
}

async function wait(condition, seconds = 20) {
  const end = Date.now() + 1000 * seconds;
  while (!condition()) {
    if (Date.now() > end) {
      const state = { connection: client.connection.get(), chat: chat?.state.get() };
      throw new Error(`in vain until ${condition}: ${JSON.stringify(state, null, 1)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const scope = { client, history, show, wait, kept, chat: () => chat };
const AsyncFunction = (async () => {}).constructor;
for await (const line of createInterface(process.stdin)) {
  const code = JSON.parse(line);
  const run = new AsyncFunction(...Object.keys(scope), code);
  const answer = await run(...Object.values(scope)).then(
    (value) => ({ value }),
    (error) => ({ error: String(error), code: error.code }),
  );
  console.log(JSON.stringify(answer));
}
client.close();
