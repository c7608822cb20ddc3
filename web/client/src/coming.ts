// The contract's newest part, until the server's side of it is here and wire.ts is made with it.

import type * as wire from "./wire.js";

export type * from "./wire.js";

export interface WireUsage {
  turns: number;
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
}

interface ComingCalls {
  "conversation:export": {
    fields: { conversation_id: string; format?: "json" | "markdown"; after?: string };
    answer: { content: string; media_type: string; file_name: string; next: string | null };
  };
  "conversation:import": {
    fields: { conversation_id: string; document: Record<string, unknown> };
    answer: { conversation: wire.WireConversation; imported: number };
  };
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

export type Calls = Omit<ComingCalls, keyof wire.Calls> & wire.Calls;
