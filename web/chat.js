import { Conversation } from "./conversation.js";
import { drawMessages, listItem } from "./drawing.js";
import { Socket, newId } from "./socket.js";

const $ = (id) => document.getElementById(id);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const listed = new Map(); // the conversations known, by id
const outbox = []; // messages on their way, in their order
let view = new Conversation(); // the one that is shown
let nextPage = null; // of the list
let health = {};
let sending = false;
let drawn = null;
let spoken = null;
const log = $("log");

const storage = {
  get token() {
    try { return localStorage.getItem("mnemosio.token"); } catch { return null; }
  },
  set token(token) {
    try { localStorage.setItem("mnemosio.token", token ?? ""); } catch { /* for this visit only */ }
  },
};

const socket = new Socket(
  `${location.origin.replace(/^http/, "ws")}/socket.io/?EIO=4&transport=websocket`,
  () => (storage.token ? { token: storage.token } : {}),
  {
    event: received,
    down() {
      view.live = false;
      say("Not connected. Trying again …");
    },
    refused(error) {
      const known = storage.token;
      storage.token = null; // it is not known here: begin as a new guest
      say(known ? "Signing in anew …" : `Not let in: ${error.message}`);
      return known;
    },
  },
);

function received(name, payload) {
  if (name === "session") {
    if (payload.token) storage.token = payload.token;
    health = {};
    tellHealth();
    list();
    open().then(flush);
  } else if (name === "server:status") {
    health = payload;
    tellHealth();
  } else if (name === "server:draining") {
    say("The server is stopping. This page finds it again by itself.");
  } else if (name === "conversation:deleted") {
    listed.delete(payload.conversation_id);
    if (payload.conversation_id === view.id) {
      leave();
      notice("This conversation was deleted elsewhere. Here begins a new one.");
    }
    drawList();
  } else if (payload.conversation) {
    listed.set(payload.conversation.id, payload.conversation);
    drawList();
  } else if (payload.conversation_id === view.id) {
    if (name === "conversation:snapshot") view.snapshot(payload);
    else if (view.live && !view.apply(name, payload)) reopen();
    if (name === "message:created") touch(payload.message);
    if (name === "turn:started") speak("Answering …");
    if (payload.message?.role === "assistant") speak(payload.message.content);
    if (name === "turn:failed") speak(payload.error.message);
    draw();
  }
}

async function open() {
  const opened = view;
  while (opened === view && view.id && !view.live && socket.connected) {
    try {
      const fields = { conversation_id: view.id, after: view.cursor };
      const answer = await socket.call("conversation:open", fields);
      if (answer.recovery === "snapshot") opened.snapshot(answer);
      if (opened.open.length) speak("Answering …");
      opened.live = true;
      listed.set(opened.id, answer.conversation);
      drawList();
    } catch (error) {
      if (error.retryable) await pause(1000);
      else if (opened === view) {
        leave();
        notice("That conversation was deleted, or is somebody else's.");
      }
    }
  }
  draw();
}

function reopen() {
  Object.assign(view, { live: false, cursor: null });
  open();
}

function go() {
  const id = decodeURIComponent(location.hash.slice(1)) || null;
  document.body.classList.remove("menu");
  if (id !== view.id) {
    if (view.id) socket.call("conversation:close", { conversation_id: view.id }).catch(() => {});
    view = new Conversation(id);
    notice("");
    open();
  }
  drawList();
  paint();
  $("text").focus();
}

function leave() {
  location.hash = "";
  go(); // at once: the event of a changed hash comes a moment later
}

async function list(before) {
  try {
    const answer = await socket.call("conversation:list", { before });
    if (!before) listed.clear();
    answer.conversations.forEach((each) => listed.set(each.id, each));
    nextPage = answer.next;
    drawList();
  } catch (error) {
    if (error.retryable && socket.connected) pause(2000).then(() => list(before));
  }
}

function touch({ conversation_id: id, created_at: at }) {
  if (listed.has(id)) listed.get(id).updated_at = at;
  drawList();
}

function send() {
  const content = $("text").value;
  if (!content.trim()) return;
  const key = newId();
  const entry = { key, role: "user", content, status: "sending" };
  view.waiting.set(key, entry);
  outbox.push({ entry, to: view });
  $("text").value = "";
  grow();
  notice("");
  draw(true);
  flush();
}

// One after the other, each again and unchanged until it is answered: the server takes it once.
async function flush() {
  if (sending) return;
  sending = true;
  while (outbox.length && socket.connected) {
    const { entry, to } = outbox[0];
    const fields = { message_id: entry.key, content: entry.content, conversation_id: to.id };
    try {
      const answer = await socket.call("message:send", fields);
      outbox.shift();
      accepted(to, answer);
    } catch (error) {
      if (error.retryable) {
        if (socket.connected) notice(`${error.message} Your message is sent again by itself.`);
        await pause(1000 * (error.retry_after ?? 1.5));
      } else {
        outbox.shift();
        to.waiting.delete(entry.key);
        $("text").value = [entry.content, $("text").value].filter(Boolean).join("\n");
        grow();
        notice(`Not sent. ${error.message}`);
      }
    }
    draw();
  }
  sending = false;
}

function accepted(to, answer) {
  notice("");
  if (!to.entries.has(answer.message.id)) to.put(answer.message);
  if (to.id) return;
  Object.assign(to, { id: answer.conversation_id, live: true });
  if (to === view) history.replaceState(null, "", `#${encodeURIComponent(to.id)}`);
  else change("conversation:close", { conversation_id: to.id });
  drawList();
}

async function earlier() {
  const shown = view;
  const fields = { conversation_id: view.id, before: view.first, limit: 50 };
  try {
    const { messages, has_more } = await socket.call("conversation:history", fields);
    messages.forEach((message) => shown.put(message));
    shown.more = has_more;
  } catch (error) {
    notice(error.message);
  }
  const below = log.scrollHeight - log.scrollTop;
  paint();
  log.scrollTop = log.scrollHeight - below;
}

async function change(call, fields) {
  try {
    await socket.call(call, fields);
  } catch (error) {
    notice(error.message);
  }
}

function draw(toEnd = false) {
  const end = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  cancelAnimationFrame(drawn);
  drawn = requestAnimationFrame(() => {
    paint();
    if (end || toEnd) log.scrollTop = log.scrollHeight;
  });
}

function paint() {
  drawMessages($("messages"), view.all);
  $("earlier").hidden = !view.hasEarlier;
  $("welcome").hidden = view.id !== null || view.all.length > 0;
  const stop = $("stop");
  if (!view.open.length && document.activeElement === stop) $("text").focus();
  stop.hidden = !view.open.length;
}

function drawList() {
  const newest = [...listed.values()].sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1));
  const items = newest.map((each) => listItem(each, each.id === view.id, rename, remove));
  $("list").replaceChildren(...items);
  $("more").hidden = !nextPage;
  $("title").textContent = listed.get(view.id)?.title || "New conversation";
  document.title = `${$("title").textContent} · Mnemosio`;
}

function rename({ id, title }) {
  const renamed = prompt("The conversation's title", title)?.trim();
  if (renamed) change("conversation:rename", { conversation_id: id, title: renamed });
}

function remove({ id, title }) {
  const sure = confirm(`Delete “${title}” for good?`);
  if (!sure) return;
  if (id === view.id) leave();
  change("conversation:delete", { conversation_id: id });
}

function say(text) {
  $("status").textContent = text;
}

// To screen readers; the log itself is too restless for them while an answer streams.
function speak(text) {
  $("spoken").textContent = text;
  clearTimeout(spoken);
  spoken = setTimeout(() => ($("spoken").textContent = ""), 2000);
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function tellHealth() {
  const lines = ["Connected"];
  if (health.memory === "local") lines.push("running without Redis; nothing is lost");
  if (health.store === "down") lines.push("the store is away: new messages have to wait");
  say(lines.join(" · "));
}

function grow() {
  $("text").style.height = "auto";
  $("text").style.height = `${$("text").scrollHeight}px`;
}

$("form").onsubmit = (event) => {
  event.preventDefault();
  send();
};
$("text").oninput = () => {
  grow();
  notice("");
};
$("text").onkeydown = (event) => {
  // While an input method composes, Enter belongs to it (Safari says so by 229 only).
  const composing = event.isComposing || event.keyCode === 229;
  if (event.key !== "Enter" || event.shiftKey || composing) return;
  event.preventDefault();
  send();
};
$("stop").onclick = () => {
  const [turn] = view.open;
  if (turn) change("turn:stop", { conversation_id: view.id, turn_id: turn.turn_id });
};
$("earlier").onclick = earlier;
$("more").onclick = () => list(nextPage);
$("new").onclick = leave;
$("menu").onclick = () => document.body.classList.toggle("menu");
onhashchange = go;
onbeforeunload = (event) => outbox.length && event.preventDefault(); // they would be lost
go();
