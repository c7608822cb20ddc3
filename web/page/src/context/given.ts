// The record of a turn's context, read with care: an agent of the operator's own may keep any other.

export interface Recalled {
  messageId: string;
  conversationId: string | null;
  text: string;
}

export interface UsedTool {
  id: string;
  name: string;
  status: "started" | "finished" | "failed";
  input: Record<string, unknown> | null;
  output: string | null;
}

export interface Given {
  model: string | null;
  systemPrompt: string | null;
  budget: number | null;
  total: number | null;
  /** By part of the prompt, in tokens. */
  parts: readonly (readonly [string, number])[];
  summary: { upto: number | null; text: string } | null;
  window: number;
  facts: readonly string[];
  recalled: readonly Recalled[];
  tools: readonly UsedTool[];
  rounds: number | null;
  leftOut: readonly string[];
}

export function givenOf(told: Record<string, unknown>): Given {
  const { total, ...parts } = record(told.tokens);
  const summary = record(told.summary);
  return {
    ...{ model: text(told.model), systemPrompt: text(told.system_prompt) },
    ...{ budget: number(told.budget), total: number(total) },
    parts: Object.entries(parts)
      .flatMap(([name, value]) => (typeof value === "number" && value > 0 ? [[name, value] as const] : []))
      .sort(([a], [b]) => order(a) - order(b)),
    summary: text(summary.text) === null ? null : { upto: number(summary.upto), text: text(summary.text)! },
    window: list(record(told.window).message_ids).length,
    facts: list(told.facts).flatMap((fact) => text(record(fact).text) ?? []),
    recalled: list(told.recalled).map((each) => {
      const { message_id, conversation_id, text: said } = record(each);
      return { messageId: text(message_id) ?? "", conversationId: text(conversation_id), text: text(said) ?? "" };
    }),
    tools: list(told.tools).map((each) => {
      const { id, name, status, input, output } = record(each);
      return {
        ...{ id: text(id) ?? "", name: text(name) ?? "", output: text(output) },
        status: status === "failed" || status === "started" ? status : "finished",
        input: input ? record(input) : null,
      };
    }),
    rounds: number(told.rounds),
    leftOut: list(told.left_out).flatMap((each) => text(each) ?? []),
  };
}

// As they stand in a prompt; what an agent of the operator's own names otherwise comes last.
const PARTS = ["system", "summary", "facts", "recalled", "window", "question", "tools"];
const order = (name: string) => PARTS.indexOf(name) + (PARTS.includes(name) ? 0 : PARTS.length + 1);

const text = (value: unknown) => (typeof value === "string" ? value : null);
const number = (value: unknown) => (typeof value === "number" ? value : null);
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const record = (value: unknown) =>
  (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
