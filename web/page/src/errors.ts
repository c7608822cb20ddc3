/** What went wrong with a call, for people. */
export function messageOf(reason: unknown): string {
  const message = (reason as { message?: unknown } | null)?.message;
  return typeof message === "string" && message ? message : "That did not work.";
}
