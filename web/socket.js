// Socket.IO v5 over Engine.IO v4, on a plain WebSocket: as much of it as the chat page needs.

const MAX_PACKET_BYTES = 1_000_000; // the server ends a connection that sends more at once
const OPEN_TIMEOUT = 10_000;
const FIRST_DELAY = 500;
const LONGEST_DELAY = 10_000;

const failure = (code, message, retryable) => ({ code, message, retryable });
const gone = () => failure("unavailable", "There is no connection to the server.", true);

export class Socket {
  // auth() gives what the handshake carries. on.event(name, payload); on.down(): the connection is
  // lost and comes back by itself; on.refused(error): return true to try again at once.
  constructor(url, auth, on) {
    Object.assign(this, { url, auth, on, acks: new Map(), nextId: 0, failures: 0, pause: 0 });
    addEventListener("online", () => this.retry && this.open());
    this.open();
  }

  open() {
    clearTimeout(this.retry);
    this.retry = null;
    this.connected = false;
    const ws = (this.ws = new WebSocket(this.url));
    this.watch(OPEN_TIMEOUT);
    ws.onmessage = ({ data }) => ws === this.ws && this.receive(data);
    ws.onclose = () => ws === this.ws && this.lost();
  }

  // A connection that has been silent for this long is dead, whatever the network says.
  watch(ms) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.lost(), ms);
  }

  lost() {
    const { ws } = this;
    this.ws = null;
    ws?.close();
    clearTimeout(this.silence);
    this.connected = false;
    for (const ack of this.acks.values()) ack.reject(gone());
    this.acks.clear();
    if (this.ended) return;
    // Jitter, so that the clients of a restarted server don't all come in one moment.
    const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.failures++);
    this.retry = setTimeout(() => this.open(), this.pause + delay * (0.5 + Math.random()));
    this.pause = 0;
    this.on.down();
  }

  receive(data) {
    if (typeof data !== "string") return;
    this.watch(this.patience ?? OPEN_TIMEOUT);
    if (data[0] === "0") {
      const { pingInterval, pingTimeout } = JSON.parse(data.slice(1));
      this.patience = pingInterval + pingTimeout;
      this.ws.send("40" + JSON.stringify(this.auth()));
    } else if (data === "2") {
      this.ws.send("3");
    } else if (data[0] === "1" || data.startsWith("41")) {
      this.lost();
    } else if (data.startsWith("40")) {
      Object.assign(this, { connected: true, failures: 0 });
    } else if (data.startsWith("42")) {
      const [name, payload] = JSON.parse(data.slice(2));
      if (name === "server:draining") this.pause = payload.reconnect_in_ms;
      this.on.event(name, payload);
    } else if (data.startsWith("43")) {
      const [, id, body] = /^43(\d+)(.*)$/s.exec(data);
      this.acks.get(Number(id))?.resolve(JSON.parse(body)[0]);
    } else if (data.startsWith("44")) {
      this.refuse(JSON.parse(data.slice(2)));
    }
  }

  refuse({ message, data }) {
    const error = { code: "unauthorized", message, ...data };
    const again = error.retryable || this.on.refused(error);
    this.ended = !again;
    this.lost();
  }

  // The answer of a call; rejects with the contract's error. An answer that does not come counts
  // as "unavailable": the same call may be made again.
  async call(name, fields, timeout = 10_000) {
    if (!this.connected) throw gone();
    const id = this.nextId++;
    const packet = `42${id}${JSON.stringify([name, fields])}`;
    if (new Blob([packet]).size > MAX_PACKET_BYTES) {
      throw failure("too_large", "This message is too long.", false);
    }
    let timer;
    try {
      const answer = await new Promise((resolve, reject) => {
        this.acks.set(id, { resolve, reject });
        timer = setTimeout(reject, timeout, failure("unavailable", "No answer came.", true));
        this.ws.send(packet);
      });
      if (!answer.ok) throw answer.error;
      return answer;
    } finally {
      clearTimeout(timer);
      this.acks.delete(id);
    }
  }
}

// crypto.randomUUID is missing on pages that came by plain HTTP from another machine.
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const random = [...crypto.getRandomValues(new Uint8Array(16))];
  const hex = random.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, "$1-$2-4$3-8$4-$5");
}
