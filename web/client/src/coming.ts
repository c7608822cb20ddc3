// The contract's newest part, until the server's side of it is here and wire.ts is made with it.

import type * as wire from "./wire.js";

type And<Coming, Here> = Omit<Coming, keyof Here> & Here;

interface ComingAttachment {
  id: string;
  type: "image";
  media_type: string;
  size: number;
}
interface ComingFeedback {
  value: 1 | -1;
  comment?: string | null;
}
interface ComingTool {
  id: string;
  name: string;
  status: "started" | "finished" | "failed";
  input?: Record<string, unknown>;
  output?: string;
}
interface ComingFact {
  id: string;
  text: string;
  confidence: number;
  created_at: string;
  updated_at: string;
  edited: boolean;
  source: { conversation_id: string; message_id: string } | null;
}
interface ComingUsage {
  turns: number;
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
}

export type WireError = wire.WireError;
export type WireAttachment = ComingAttachment;
export type WireFeedback = ComingFeedback;
export type WireTool = ComingTool;
export type WireFact = ComingFact;
export type WireUsage = ComingUsage;
export type WireTurn = wire.WireTurn;
export type WireConversation = And<
  { model?: string | null; system_prompt?: string | null },
  wire.WireConversation
>;
export type WireMessage = And<
  { attachments?: WireAttachment[]; feedback?: WireFeedback },
  wire.WireMessage
>;
export type WireRunning = And<{ tools?: WireTool[] }, wire.WireRunning>;

interface ComingCalls {
  "conversation:open": {
    fields: wire.Calls["conversation:open"]["fields"];
    answer: Omit<wire.Calls["conversation:open"]["answer"], "turns" | "messages"> & {
      turns?: WireRunning[];
      messages?: WireMessage[];
    };
  };
  "conversation:search": {
    fields: { query: string; limit?: number; conversation_id?: string };
    answer: {
      results: { conversation: WireConversation; message: WireMessage; snippet: string }[];
    };
  };
  "conversation:configure": {
    fields: { conversation_id: string; model?: string; system_prompt?: string };
    answer: { conversation: WireConversation };
  };
  "conversation:create": {
    fields: { conversation_id?: string; title?: string; model?: string; system_prompt?: string };
    answer: { conversation: WireConversation };
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
    fields: wire.Calls["message:send"]["fields"] & { attachments?: object[] };
    answer: wire.Calls["message:send"]["answer"];
  };
  "attachment:get": {
    fields: { conversation_id: string; attachment_id: string };
    answer: { attachment: WireAttachment; data: string };
  };
  "message:feedback": {
    fields: { conversation_id: string; message_id: string; value: -1 | 0 | 1; comment?: string };
    answer: { message: WireMessage };
  };
  "turn:context": {
    fields: { conversation_id: string; turn_id: string };
    answer: { context: Record<string, unknown> | null };
  };
  "memory:list": {
    fields: { limit?: number; before?: string };
    answer: { enabled: boolean; facts: WireFact[]; next: string | null };
  };
  "memory:update": {
    fields: { fact_id: string; text: string };
    answer: { fact: WireFact };
  };
  "memory:delete": { fields: { fact_id: string }; answer: object };
  "user:usage": {
    fields: { conversation_id?: string; days?: number };
    answer: {
      usage: WireUsage;
      days: (WireUsage & { day: string })[];
      budget: { limit: number; used: number; resets_at: string } | null;
    };
  };
  "user:delete": { fields: { confirm: string }; answer: { conversations: number } };
}

export type Calls = ComingCalls & Omit<wire.Calls, keyof ComingCalls>;

interface ComingFeedEvents {
  "turn:tool": {
    conversation_id: string;
    cursor: string;
    turn_id: string;
    attempt: number;
    tool: WireTool;
  };
}
export type FeedEvents = And<ComingFeedEvents, wire.FeedEvents>;

interface ComingOtherEvents {
  "conversation:snapshot": {
    conversation_id: string;
    cursor: string;
    messages: WireMessage[];
    turns: WireRunning[];
  };
  "message:feedback": {
    conversation_id: string;
    message_id: string;
    feedback: WireFeedback | null;
  };
  "memory:updated": object;
  session: Omit<wire.OtherEvents["session"], "server"> & {
    server: wire.OtherEvents["session"]["server"] & {
      models?: string[];
      system_prompts?: string[];
      memory?: boolean;
    };
  };
}
export type OtherEvents = ComingOtherEvents & Omit<wire.OtherEvents, keyof ComingOtherEvents>;
