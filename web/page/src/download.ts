import type { ExportedFile } from "mnemosio-client";

/** Hands a file to the browser, to be saved. */
export function download({ content, mediaType, name }: ExportedFile) {
  const address = URL.createObjectURL(new Blob([content], { type: mediaType }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // not before the browser has begun
}
