// The contract's newest part, until the server's side of it is here and wire.ts is made with it.

import type * as wire from "./wire.js";

interface ComingCalls {
  "user:delete": { fields: { confirm: string }; answer: { conversations: number } };
}

export type Calls = Omit<ComingCalls, keyof wire.Calls> & wire.Calls;
