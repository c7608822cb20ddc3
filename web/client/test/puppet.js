// A tab that a test drives: evaluates each line of its input, and prints what that gives.
//   node puppet.js <url> <storage file> <JSON: further options of connect>
// What the lines see: `client`, `chat` (the conversation that is shown), `wait`, `history`.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { connect } from "../dist/index.js";

const [url, file, more] = process.argv.slice(2);

// As localStorage: shared by all tabs, and still there after a reload.
const all = () => (existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {});
const storage = {
  getItem: (key) => all()[key] ?? null,
  setItem: (key, value) => writeFileSync(file, JSON.stringify({ ...all(), [key]: value })),
  removeItem: (key) => writeFileSync(file, JSON.stringify({ ...all(), [key]: undefined })),
};

// `tokens` are given one after the other, the last one for ever.
const { tokens, ...options } = JSON.parse(more);
if (tokens) options.token = async () => (tokens.length > 1 ? tokens.shift() : tokens[0]);
const client = connect({ url, storage, ...options });
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

const scope = { client, history, show, wait, storage, chat: () => chat };
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
