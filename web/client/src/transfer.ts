// A conversation as a document, out and in again, in pieces that a packet can carry.

import { ask, type Line } from "./calls.js";
import { CallFailure } from "./errors.js";
import { newId } from "./ids.js";
import type { ExportedFile, ExportFormat } from "./types.js";

const PIECE_BYTES = 500_000; // half a packet: the server reads one while the next is on its way
const TRIES = 3;
const PATIENCE = 60_000; // of one call, which may have much to write

export async function exported(
  line: Line,
  id: string,
  format: ExportFormat,
): Promise<ExportedFile> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await pieces(line, id, format);
    } catch (error) {
      // What was given already has changed meanwhile.
      const isConflict = error instanceof CallFailure && error.code === "conflict";
      if (!isConflict || tries === TRIES) throw error;
    }
  }
}

async function pieces(line: Line, id: string, format: ExportFormat): Promise<ExportedFile> {
  const contents: string[] = [];
  let after: string | undefined;
  for (;;) {
    const fields = { conversation_id: id, format, ...(after !== undefined && { after }) };
    const answer = await ask(line, "conversation:export", fields, { patience: PATIENCE });
    contents.push(answer.content);
    if (answer.next === null) {
      const { media_type: mediaType, file_name: name } = answer;
      return { content: contents.join(""), mediaType, name };
    }
    after = answer.next;
  }
}

export async function imported(
  line: Line,
  document: unknown,
  onProgress: (share: number) => void = () => {},
): Promise<string> {
  const id = newId();
  const pieces = piecesOf(document);
  for (const [index, piece] of pieces.entries()) {
    const fields = { conversation_id: id, document: piece };
    await ask(line, "conversation:import", fields, { patience: PATIENCE });
    onProgress((index + 1) / pieces.length);
  }
  return id;
}

/** The document in parts, each with its head and some of its messages, in order. */
export function piecesOf(document: unknown, most = PIECE_BYTES): Record<string, unknown>[] {
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw new TypeError("This is not a conversation that was exported as JSON.");
  }
  const { messages, ...head } = document as Record<string, unknown>;
  if (!Array.isArray(messages)) {
    throw new TypeError("This is not a conversation that was exported as JSON.");
  }
  const pieces: unknown[][] = [[]];
  let size = 0;
  for (const message of messages) {
    const length = new TextEncoder().encode(JSON.stringify(message)).length;
    // An answer goes with its question.
    const begins = (message as { role?: unknown } | null)?.role !== "assistant";
    if (begins && size + length > most && pieces.at(-1)!.length) {
      pieces.push([]);
      size = 0;
    }
    pieces.at(-1)!.push(message);
    size += length;
  }
  return pieces.map((each) => ({ ...head, messages: each }));
}
