// What is asked about one conversation beside what its feed needs: calls whose answers nothing
// follows on.

import { ask, type Line } from "./calls.js";
import { CallFailure } from "./errors.js";
import { newId } from "./ids.js";
import { fromBase64 } from "./images.js";
import type { Choice } from "./types.js";
import type { WireConversation } from "./wire.js";
import type { WireFeedback } from "./views.js";

export class Asking {
  readonly #line: Line;
  readonly #about: { conversation_id: string };

  constructor(line: Line, conversationId: string) {
    this.#line = line;
    this.#about = { conversation_id: conversationId };
  }

  async edit(messageId: string, content: string): Promise<void> {
    const fields = { message_id: messageId, new_message_id: newId(), content };
    await ask(this.#line, "message:edit", { ...this.#about, ...fields });
  }

  async regenerate(turnId: string): Promise<void> {
    const fields = { turn_id: turnId, new_turn_id: newId() };
    await ask(this.#line, "turn:regenerate", { ...this.#about, ...fields });
  }

  async stop(turnId: string): Promise<void> {
    try {
      await ask(this.#line, "turn:stop", { ...this.#about, turn_id: turnId });
    } catch (error) {
      // What was replaced meanwhile is stopped as well.
      if (!(error instanceof CallFailure && error.code === "not_found")) throw error;
    }
  }

  async feedback(id: string, value: 1 | 0 | -1, comment?: string): Promise<WireFeedback | null> {
    const fields = { ...this.#about, message_id: id, value, comment };
    const { message } = await ask(this.#line, "message:feedback", fields);
    return message.feedback ?? null;
  }

  async configure({ model, systemPrompt }: Partial<Choice>): Promise<WireConversation> {
    const { conversation } = await ask(this.#line, "conversation:configure", {
      ...this.#about,
      ...(model !== undefined && { model: model ?? "" }),
      ...(systemPrompt !== undefined && { system_prompt: systemPrompt ?? "" }),
    });
    return conversation;
  }

  async context(turnId: string): Promise<Record<string, unknown> | null> {
    const { context } = await ask(this.#line, "turn:context", { ...this.#about, turn_id: turnId });
    return context;
  }

  async attachment(id: string): Promise<Blob> {
    const fields = { ...this.#about, attachment_id: id };
    const { attachment, data } = await ask(this.#line, "attachment:get", fields);
    return new Blob([fromBase64(data)], { type: attachment.media_type });
  }
}
