// What the page says about the connection and the server, in plain words.
import type { CallError, ConnectionState, ConversationState } from "mnemosio-client";

export interface Notice {
  tone: "calm" | "warning";
  text: string;
}

export function noticeOf(connection: ConnectionState, waited: boolean): Notice | null {
  const { status, error, draining, memory, sharedMemory, store } = connection;
  if (status === "refused") {
    return { tone: "warning", text: `This server does not let you in. ${error?.message ?? ""}`.trim() };
  }
  if (status === "closed") return { tone: "warning", text: "The connection is closed. Reload the page." };
  if (status === "connecting") {
    return waited ? { tone: "calm", text: "Connecting …" } : null;
  }
  if (status === "reconnecting") {
    return waited
      ? {
          tone: "warning",
          text: "No connection. Trying again by itself; what you write is kept and sent then.",
        }
      : null;
  }
  if (draining) {
    return { tone: "calm", text: "The server is restarting. This page finds its way back by itself." };
  }
  if (store === "down") {
    return {
      tone: "warning",
      text:
        "The archive is away. New messages are kept safe and are answered; older ones, and changes, " +
        "have to wait until it is back.",
    };
  }
  if (memory === "local" && sharedMemory) {
    return { tone: "calm", text: "The shared memory is away; this server goes on with its own. Nothing is lost." };
  }
  return null;
}

/** Of a conversation that can't be followed, though some of it is here. */
export function failureOf({ status, messages, error }: ConversationState): Notice | null {
  if (status !== "failed" || messages.length === 0) return null;
  const text = `This conversation can’t be brought up to date. ${error?.message ?? ""}`.trim();
  return { tone: "warning", text };
}

export const notSent = (error: CallError | null) => `Not sent. ${error?.message ?? ""}`.trim();

export const shown = (title: string) => title.trim() || "New conversation";
