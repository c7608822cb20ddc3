// Images as text: for a storage, which takes nothing else, and as the wire gives them.

import type { NewAttachment } from "./types.js";

export function imagesToText(images: readonly NewAttachment[]): string {
  return JSON.stringify(images.map(({ mediaType, data }) => [mediaType, toBase64(data)]));
}

/** Null where this is nothing that `imagesToText` has made. */
export function textToImages(text: string | null): NewAttachment[] | null {
  try {
    const images = JSON.parse(text ?? "") as [string, string][];
    return images.map(([mediaType, data]) => ({ mediaType, data: fromBase64(data) }));
  } catch {
    return null;
  }
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

const PIECE = 0x8000; // as many arguments as a function may have anywhere

function toBase64(data: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < data.length; at += PIECE) {
    binary += String.fromCharCode(...data.subarray(at, at + PIECE));
  }
  return btoa(binary);
}
