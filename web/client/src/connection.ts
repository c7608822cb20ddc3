// The stock socket.io-client, and who we are to the server: it comes back by itself, whatever
// happens, until it is refused for good or closed.

import { io, type Socket } from "socket.io-client";
import type { Acknowledgement, Line, Name } from "./calls.js";
import { closed, fromWire, offline } from "./errors.js";
import type { Kept } from "./kept.js";
import { Observable } from "./store.js";
import type { CallError, ConnectOptions, ConnectionState } from "./types.js";
import type { OtherEvents, WireError } from "./wire.js";

const TOKEN = "mnemosio.token";
const ANSWER_TIMEOUT = 10_000;
const FIRST_DELAY = 500;
const LONGEST_DELAY = 5000;

export interface Listener {
  /** The connection stands. */
  onUp(userId: string): void;
  onDown(): void;
  onEvent(name: string, payload: unknown): void;
}

/** Nobody was reached, or with `data` how a server refused. */
type Refusal = Error & { data?: WireError };

export class Connection implements Line {
  readonly state = new Observable<ConnectionState>({
    ...{ status: "connecting", error: null, userId: null, guest: false, serverVersion: null },
    ...{ memory: "redis", sharedMemory: true, store: "ok", draining: false, limits: {} },
    ...{ models: [], systemPrompts: [], remembersFacts: false },
  });
  up = false;
  end: CallError | null = null;
  readonly #socket: Socket;
  readonly #options: ConnectOptions;
  readonly #kept: Kept;
  readonly #listener: Listener;
  readonly #watchers = new Set<() => void>();
  #isGuest = false; // whether it is ours to keep the token
  #presented: string | null = null; // the token that this connection was begun with
  #unknown: string | null = null; // a guest's token that this server does not know
  #failures = 0;
  #connects = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  readonly #onOnline = () => {
    if (!this.up && !this.end) this.#reconnect(0);
  };

  constructor(options: ConnectOptions, kept: Kept, listener: Listener) {
    this.#options = options;
    this.#kept = kept;
    this.#listener = listener;
    const settings = {
      auth: (give: (auth: object) => void) => void this.#authenticate(give),
      transports: options.transports ?? ["websocket"],
      reconnectionDelay: FIRST_DELAY,
      reconnectionDelayMax: LONGEST_DELAY,
      forceNew: true,
      autoConnect: false,
    };
    const socket = options.url === undefined ? io(settings) : io(options.url, settings);
    this.#socket = socket;
    socket.on("session", (session: OtherEvents["session"]) => this.#begin(session));
    socket.on("server:status", (status: OtherEvents["server:status"]) => {
      this.state.update(status.memory === "redis" ? { ...status, sharedMemory: true } : status);
    });
    socket.on("server:draining", () => this.state.update({ draining: true }));
    socket.on("connect_error", (error: Refusal) => this.#refused(error));
    socket.on("disconnect", (reason) => this.#lost(reason));
    socket.onAny((name: string, payload: unknown) => {
      if (this.up) listener.onEvent(name, payload);
    });
    globalThis.addEventListener?.("online", this.#onOnline);
  }

  open(): void {
    this.#socket.connect();
  }

  close(): void {
    if (this.state.get().status === "closed") return;
    this.#finish("closed", closed);
    globalThis.removeEventListener?.("online", this.#onOnline);
  }

  emit(name: Name, fields: object, done: (answer: Acknowledgement | null) => void): void {
    // On a connection that died unnoticed the library only buffers it: see #lost.
    this.#socket
      .timeout(ANSWER_TIMEOUT)
      .emit(name, fields, (error: Error | null, answer: Acknowledgement) =>
        done(error ? null : answer),
      );
  }

  watch(listener: () => void): () => void {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  async #authenticate(give: (auth: object) => void): Promise<void> {
    const connect = ++this.#connects;
    try {
      const { token } = this.#options;
      const given = (typeof token === "function" ? await token() : token) ?? null;
      if (connect !== this.#connects) return;
      this.#isGuest = given === null;
      this.#presented = given ?? this.#guestToken();
      give(this.#presented === null ? {} : { token: this.#presented });
    } catch (error) {
      if (connect !== this.#connects) return;
      const message = error instanceof Error ? error.message : String(error);
      this.state.update({ error: { code: "unavailable", message, retryable: true } });
      this.#reconnect();
    }
  }

  #guestToken(): string | null {
    const kept = this.#kept.get(TOKEN);
    return kept === this.#unknown ? null : kept;
  }

  #begin(session: OtherEvents["session"]): void {
    const { user_id: userId, guest, token, server } = session;
    if (token !== undefined && this.#isGuest) {
      if (this.#presented === null && this.#guestToken() !== null) {
        return this.#reconnect(0); // another tab became a guest in this moment: be the same one
      }
      this.#kept.set(TOKEN, token);
    }
    this.#failures = 0;
    this.up = true;
    this.state.update({
      ...{ status: "connected", error: null, userId, guest, serverVersion: server.version },
      ...{ memory: "redis", store: "ok", draining: false, limits: server.limits },
      ...{ models: server.models ?? [], systemPrompts: server.system_prompts ?? [] },
      ...{ remembersFacts: server.memory ?? false, sharedMemory: server.shared_memory ?? true },
    });
    this.#listener.onUp(userId);
    this.#tellWatchers();
  }

  #lost(reason: string): void {
    // Or what was buffered would go out on the next connection: a second time, or as another user,
    // or though it was discarded. Without it, it is answered with an error now, as all else is.
    this.#socket.sendBuffer.length = 0;
    const wasUp = this.up;
    this.up = false;
    if (this.end) return;
    this.state.update({ status: "reconnecting" });
    if (wasUp) this.#listener.onDown();
    // The library comes back by itself from all but a goodbye.
    if (reason === "io server disconnect") this.#reconnect();
  }

  #refused({ message, data }: Refusal): void {
    if (this.#socket.active && !data) return; // nobody was reached; the library goes on trying
    if (data?.code === "unauthorized" && this.#isGuest && this.#presented !== null) {
      // Not known here (any more). Without it, this is a new guest; or is refused for good.
      this.#unknown = this.#presented;
      return this.#reconnect(0);
    }
    const error = data ? fromWire(data) : { ...offline, message };
    if (!error.retryable) return this.#finish("refused", error);
    this.state.update({ error });
    this.#reconnect(error.retryAfter === undefined ? undefined : error.retryAfter * 1000);
  }

  /** Begin anew, where the library would not by itself. */
  #reconnect(delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#failures++)): void {
    clearTimeout(this.#retry);
    this.#socket.disconnect();
    // Jitter, so that all clients of a server don't come in one moment.
    this.#retry = setTimeout(() => this.#socket.connect(), delay * (0.5 + Math.random()));
  }

  #finish(status: "refused" | "closed", error: CallError): void {
    const wasUp = this.up;
    this.up = false;
    this.end = error;
    clearTimeout(this.#retry);
    this.#socket.disconnect();
    this.state.update({ status, error: status === "refused" ? error : null });
    if (wasUp) this.#listener.onDown();
    this.#tellWatchers();
  }

  #tellWatchers(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}
