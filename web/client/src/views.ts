// A message as it is shown, from what the wire has of it.

import type { Attachment, Feedback, MessageView } from "./types.js";
import type { WireAttachment, WireMessage } from "./wire.js";

export type WireFeedback = NonNullable<WireMessage["feedback"]>;

export function viewOf(message: WireMessage): MessageView {
  const { id, seq, role, content, status, attachments, feedback } = message;
  return {
    key: role === "user" ? id : message.turn_id,
    ...{ id, turnId: message.turn_id, seq, role, content, createdAt: message.created_at, status },
    ...{ error: null, attempt: role === "user" ? 0 : 1 },
    ...(attachments?.length && { attachments: attachments.map(attachmentOf) }),
    ...(feedback && { feedback: feedbackOf(feedback) }),
  };
}

export const attachmentOf = ({ id, media_type, size }: WireAttachment): Attachment => ({
  ...{ id, mediaType: media_type, size },
});

export const feedbackOf = ({ value, comment }: WireFeedback): Feedback => ({
  ...{ value, comment: comment ?? null },
});

/** The same object where nothing changed; and what only the feed tells stays known. */
export function likeBefore(fresh: MessageView, before: MessageView | undefined): MessageView {
  if (!before || before.id !== fresh.id || before.content !== fresh.content) return fresh;
  const { error, attempt, usage, tools } = before;
  const merged = {
    ...{ ...fresh, error, attempt },
    ...(usage !== undefined && { usage }),
    ...(tools !== undefined && { tools }),
    ...(fresh.attachments && { attachments: same(fresh.attachments, before.attachments) }),
    ...(fresh.feedback && { feedback: same(fresh.feedback, before.feedback) }),
  };
  const names = new Set([...Object.keys(merged), ...Object.keys(before)]);
  const isSame = [...(names as Set<keyof MessageView>)].every((name) => merged[name] === before[name]);
  return isSame ? before : merged;
}

function same<T>(fresh: T, before: T | undefined): T {
  return before && JSON.stringify(fresh) === JSON.stringify(before) ? before : fresh;
}
