// The wire contract. Made from server/protocol.py and docs/protocol.md: don't edit this, run
//   python -m tests.web.wire

export const MAX_PACKET_BYTES = 1000000;

export type ErrorCode = "invalid" | "unauthorized" | "not_found" | "conflict" | "busy" | "too_large" | "rate_limited" | "unavailable" | "internal";

export interface WireError {
  code: string;
  message: string;
  retryable: boolean;
  field?: string;
  retry_after?: number;
}

export interface WireConversation {
  id: string;
  title: string;
  created_at: string;
  updated_at: string;
  message_count: number;
  model: string | null;
  system_prompt: string | null;
}

export interface WireAttachment {
  id: string;
  type: "image";
  media_type: "image/gif" | "image/jpeg" | "image/png" | "image/webp";
  size: number;
}

export interface WireMessage {
  id: string;
  conversation_id: string;
  seq: number | null;
  role: "user" | "assistant";
  content: string;
  status: "complete" | "interrupted" | "stopped";
  turn_id: string;
  created_at: string;
  attachments?: WireAttachment[];
  feedback?: { value: 1 | -1; comment?: string };
}

export interface WireTurn {
  id: string;
  conversation_id: string;
  message_id: string;
  status: "completed" | "failed" | "queued" | "running" | "stopped";
  attempt: number;
}

export interface WireTool {
  id: string;
  name: string;
  status: "failed" | "finished" | "started";
  input?: Record<string, unknown>;
  output?: string;
}

export interface WireFact {
  id: string;
  text: string;
  confidence: number;
  created_at: string;
  updated_at: string;
  edited: boolean;
  source: { conversation_id: string; message_id: string } | null;
}

export interface WireRunning {
  id: string;
  status: "completed" | "failed" | "queued" | "running" | "stopped";
  attempt: number;
  text: string;
  next_index: number;
  tools: WireTool[];
}

export interface WireUsage {
  turns: number;
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
}

export interface Calls {
  "conversation:create": {
    fields: { conversation_id?: string; title?: string; model?: string; system_prompt?: string };
    answer: { conversation: WireConversation };
  };
  "conversation:list": {
    fields: { limit?: number; before?: string };
    answer: { conversations: WireConversation[]; next: string | null };
  };
  "conversation:open": {
    fields: { conversation_id: string; after?: string };
    answer: { conversation: WireConversation; recovery: "replayed" | "snapshot"; cursor: string; messages?: WireMessage[]; turns?: WireRunning[] };
  };
  "conversation:history": {
    fields: { conversation_id: string; before?: number; limit?: number };
    answer: { messages: WireMessage[]; has_more: boolean };
  };
  "conversation:close": {
    fields: { conversation_id: string };
    answer: object;
  };
  "conversation:rename": {
    fields: { conversation_id: string; title: string };
    answer: { conversation: WireConversation };
  };
  "conversation:configure": {
    fields: { conversation_id: string; model?: string; system_prompt?: string };
    answer: { conversation: WireConversation };
  };
  "conversation:delete": {
    fields: { conversation_id: string };
    answer: object;
  };
  "conversation:search": {
    fields: { query: string; limit?: number; conversation_id?: string };
    answer: { results: { conversation: WireConversation; message: WireMessage; snippet: string }[] };
  };
  "conversation:export": {
    fields: { conversation_id: string; format?: "json" | "markdown"; after?: string };
    answer: { content: string; media_type: string; file_name: string; next: string | null };
  };
  "conversation:import": {
    fields: { conversation_id: string; document: Record<string, unknown> };
    answer: { conversation: WireConversation; imported: number };
  };
  "message:send": {
    fields: { message_id: string; content: string; conversation_id?: string; if_busy?: "interrupt" | "queue" | "reject"; attachments?: { type: "image"; media_type: "image/gif" | "image/jpeg" | "image/png" | "image/webp"; data: string | Uint8Array }[] };
    answer: { conversation_id: string; message: WireMessage; turn: WireTurn; durability: "permanent" | "spooled" };
  };
  "message:edit": {
    fields: { conversation_id: string; message_id: string; new_message_id: string; content: string; attachments?: { type: "image"; media_type: "image/gif" | "image/jpeg" | "image/png" | "image/webp"; data: string | Uint8Array }[] };
    answer: { conversation_id: string; message: WireMessage; turn: WireTurn; durability: "permanent" | "spooled" };
  };
  "message:feedback": {
    fields: { conversation_id: string; message_id: string; value: -1 | 0 | 1; comment?: string };
    answer: { message: WireMessage };
  };
  "user:usage": {
    fields: { conversation_id?: string; days?: number };
    answer: { usage: WireUsage; days: (WireUsage & { day: string })[]; budget: { limit: number; used: number; resets_at: string } | null };
  };
  "turn:stop": {
    fields: { conversation_id: string; turn_id: string };
    answer: { turn: WireTurn };
  };
  "turn:regenerate": {
    fields: { conversation_id: string; turn_id: string; new_turn_id: string };
    answer: { turn: WireTurn };
  };
  "turn:context": {
    fields: { conversation_id: string; turn_id: string };
    answer: { context: Record<string, unknown> | null };
  };
  "attachment:get": {
    fields: { conversation_id: string; attachment_id: string };
    answer: { attachment: WireAttachment; data: string };
  };
  "memory:list": {
    fields: { limit?: number; before?: string };
    answer: { enabled: boolean; facts: WireFact[]; next: string | null };
  };
  "memory:update": {
    fields: { fact_id: string; text: string };
    answer: { fact: WireFact };
  };
  "memory:delete": {
    fields: { fact_id: string };
    answer: object;
  };
  "user:delete": {
    fields: { confirm: "delete everything" };
    answer: { conversations: number };
  };
}

export interface FeedEvents {
  "message:created": { conversation_id: string; cursor: string; message: WireMessage };
  "message:stored": { conversation_id: string; cursor: string; message_id: string; seq: number | null };
  "message:removed": { conversation_id: string; cursor: string; message_ids: string[] };
  "turn:queued": { conversation_id: string; cursor: string; turn_id: string; message_id: string };
  "turn:started": { conversation_id: string; cursor: string; turn_id: string; attempt: number; message_id: string };
  "turn:delta": { conversation_id: string; cursor: string; turn_id: string; attempt: number; index: number; text: string };
  "turn:tool": { conversation_id: string; cursor: string; turn_id: string; attempt: number; tool: WireTool };
  "turn:completed": { conversation_id: string; cursor: string; turn_id: string; message: WireMessage; usage?: Record<string, unknown> };
  "turn:stopped": { conversation_id: string; cursor: string; turn_id: string; message: WireMessage | null };
  "turn:failed": { conversation_id: string; cursor: string; turn_id: string; error: WireError; message: WireMessage | null };
}

export interface OtherEvents {
  session: { user_id: string; guest: boolean; token?: string; server: { version: string; limits: Record<string, number>; models: string[]; system_prompts: string[]; memory: boolean; shared_memory: boolean } };
  "session:expired": object;
  "conversation:created": { conversation: WireConversation };
  "conversation:updated": { conversation: WireConversation };
  "conversation:deleted": { conversation_id: string };
  "message:feedback": { conversation_id: string; message_id: string; feedback: { value: 1 | -1; comment?: string } | null };
  "memory:updated": object;
  "conversation:snapshot": { conversation_id: string; cursor: string; messages: WireMessage[]; turns: WireRunning[] };
  "server:status": { memory: "redis" | "local"; store: "ok" | "down" };
  "server:draining": { reconnect_in_ms: number };
}
