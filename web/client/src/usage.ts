// What was used, as the wire tells it.

import type { Usage, Used } from "./types.js";
import type { Calls, WireUsage } from "./wire.js";

export function usageOf({ usage, days, budget }: Calls["user:usage"]["answer"]): Usage {
  return {
    ...usedOf(usage),
    days: days.map(({ day, ...used }) => ({ day, ...usedOf(used) })),
    budget: budget && { limit: budget.limit, used: budget.used, resetsAt: budget.resets_at },
  };
}

const usedOf = ({ turns, input_tokens, output_tokens, total_tokens }: WireUsage): Used => ({
  ...{ turns, inputTokens: input_tokens, outputTokens: output_tokens, totalTokens: total_tokens },
});
