/** A UUID. crypto.randomUUID is missing on pages that came by plain HTTP from another machine. */
export function newId(): string {
  if ("randomUUID" in crypto) return crypto.randomUUID();
  const random = [...(crypto as Crypto).getRandomValues(new Uint8Array(16))];
  const hex = random.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, "$1-$2-4$3-8$4-$5");
}
