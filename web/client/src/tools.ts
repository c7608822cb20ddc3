// What an answer has used, as the feed tells it: each use where in the text it began.

import type { ToolUse } from "./types.js";
import type { WireTool } from "./wire.js";

/** `use` taken in, begun after `at` characters unless it is known already. */
export function withUse(uses: readonly ToolUse[], use: WireTool, at: number): readonly ToolUse[] {
  const place = uses.findIndex(({ id }) => id === use.id);
  const before = uses[place];
  const told = {
    ...{ id: use.id, name: use.name, status: use.status, at: before?.at ?? at },
    ...{ input: use.input ?? before?.input ?? null, output: use.output ?? null },
  };
  return before ? uses.with(place, told) : [...uses, told];
}

/** What a snapshot says was used: where, it does not say, but for what was told before. */
export function usesOf(
  told: readonly WireTool[],
  before: readonly ToolUse[] = [],
): readonly ToolUse[] {
  const known = new Map(before.map(({ id, at }) => [id, at]));
  return told.reduce<readonly ToolUse[]>(
    (uses, use) => withUse(uses, use, known.get(use.id) ?? 0),
    [],
  );
}
