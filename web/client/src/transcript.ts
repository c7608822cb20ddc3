// A conversation's messages as its feed tells them: a pure reducer over events and snapshots.

import { fromWire } from "./errors.js";
import { usesOf, withUse } from "./tools.js";
import type { CallError, Feedback, MessageView } from "./types.js";
import { likeBefore, viewOf } from "./views.js";
import type { FeedEvents, OtherEvents, WireMessage } from "./wire.js";

export interface Transcript {
  /** That of the last event or snapshot. */
  readonly cursor: string | null;
  readonly views: readonly MessageView[];
  /** Of each running turn, the index of its next delta. */
  readonly next: ReadonlyMap<string, number>;
  /** Whether there are earlier messages; null: as the first one's place tells. */
  readonly earlier: boolean | null;
}

export type FeedEvent = { [N in keyof FeedEvents]: { name: N } & FeedEvents[N] }[keyof FeedEvents];
export type Snapshot = Pick<OtherEvents["conversation:snapshot"], "messages" | "turns" | "cursor">;

type Views = readonly MessageView[];

export const EMPTY: Transcript = { cursor: null, views: [], next: new Map(), earlier: null };

/** One event taken in; null where it does not follow on what is known. */
export function withEvent(before: Transcript, event: FeedEvent): Transcript | null {
  const told = { ...before, cursor: event.cursor };
  const { views } = before;
  switch (event.name) {
    case "message:created":
      return { ...told, views: put(views, viewOf(event.message)) };
    case "message:stored":
      return { ...told, views: withPlace(views, event.message_id, event.seq) };
    case "message:removed":
      return { ...told, views: without(views, new Set(event.message_ids)) };
    case "turn:queued":
      return { ...told, views: withTurn(views, event.turn_id, event.message_id, WAITING) };
    case "turn:started": {
      // Another attempt begins with nothing: what earlier ones streamed is gone.
      const begun = { ...WAITING, status: "streaming", attempt: event.attempt } as const;
      const next = new Map(before.next).set(event.turn_id, 0);
      return { ...told, next, views: withTurn(views, event.turn_id, event.message_id, begun) };
    }
    case "turn:delta":
      return withDelta(told, event);
    case "turn:tool":
      return withTool(told, event);
    case "turn:completed":
      return ended(told, event.turn_id, event.message, {
        status: "complete",
        error: null,
        ...(event.usage && { usage: event.usage }),
      });
    case "turn:stopped":
      return ended(told, event.turn_id, event.message, { status: "stopped", error: null });
    case "turn:failed": {
      const status = event.message ? "interrupted" : "failed";
      return ended(told, event.turn_id, event.message, { status, error: fromWire(event.error) });
    }
    default:
      return told; // of a later server: it moves the cursor, as every event does
  }
}

/**
 * All there is at one moment. Memory holds the latest messages only; earlier ones that were paged
 * in stay where the snapshot's first is known: whatever is rewritten takes all that follows with
 * it, so as long as that one is there, nothing before it has changed.
 */
export function withSnapshot(before: Transcript, snapshot: Snapshot): Transcript {
  const [first] = snapshot.messages;
  const known =
    first !== undefined &&
    before.views.some(({ id, seq }) => seq !== null && id === first.id && seq === first.seq);
  const kept = before.views.filter(
    ({ id, seq }) => known && id !== null && seq !== null && seq < (first?.seq ?? 0),
  );
  const old = new Map(before.views.map((view) => [view.key, view]));
  const messages = snapshot.messages.map(viewOf);
  let views: Views = [...kept, ...messages.map((each) => likeBefore(each, old.get(each.key)))];
  const next = new Map<string, number>();
  for (const { id, status, attempt, text, next_index, tools } of snapshot.turns) {
    const running = status === "running";
    const known = old.get(id)?.attempt === attempt ? old.get(id)?.tools : [];
    const told = {
      ...({ content: text, attempt, status: running ? "streaming" : "queued" } as const),
      ...(tools?.length && { tools: usesOf(tools, known) }),
    };
    views = withTurn(views, id, null, told);
    if (running) next.set(id, next_index);
  }
  const earlier = kept.length ? before.earlier : null;
  return { cursor: snapshot.cursor, views: ordered(views), next, earlier };
}

/** A page of history, which ends before the first that is known. */
export function withPage(
  before: Transcript,
  { messages, has_more }: { messages: readonly WireMessage[]; has_more: boolean },
): Transcript {
  const known = new Set(before.views.map(({ key }) => key));
  const page = messages.map(viewOf).filter(({ key }) => !known.has(key));
  return { ...before, views: ordered([...page, ...before.views]), earlier: has_more };
}

/** What somebody thinks of an answer; null: nothing any more. */
export function withFeedback(
  before: Transcript,
  messageId: string,
  feedback: Feedback | null,
): Transcript {
  const at = find(before.views, ({ id }) => id === messageId);
  if (at < 0) return before;
  const { feedback: _, ...view } = before.views[at]!;
  return { ...before, views: before.views.with(at, feedback ? { ...view, feedback } : view) };
}

/** The `before` of the next page; undefined: the latest. */
export function firstPlace({ views }: Transcript): number | undefined {
  return views.find(({ id, seq }) => id !== null && seq !== null)?.seq ?? undefined;
}

export function hasEarlier(transcript: Transcript): boolean {
  return transcript.earlier ?? (firstPlace(transcript) ?? 1) > 1;
}

export const isOpen = ({ role, status }: MessageView) =>
  role === "assistant" && (status === "queued" || status === "streaming");

const WAITING = { content: "", attempt: 0, status: "queued" } as const;
const place = ({ seq }: MessageView) => seq ?? Infinity;

// By place; what has none yet stands last, in the order in which it was told.
function ordered(views: Views): Views {
  const isSorted = views.every((view, at) => at === 0 || place(views[at - 1]!) <= place(view));
  return isSorted ? views : [...views].sort((a, b) => place(a) - place(b) || 0);
}

function find(views: Views, matches: (view: MessageView) => boolean): number {
  return views.findLastIndex(matches); // what changes is near the end
}

function changed(views: Views, at: number, fields: Partial<MessageView>): Views {
  return views.with(at, { ...views[at]!, ...fields });
}

function put(views: Views, view: MessageView): Views {
  const at = find(views, ({ key }) => key === view.key);
  return ordered(at < 0 ? [...views, view] : views.with(at, view));
}

// A turn's answer that is still to come, right behind its question.
function withTurn(
  views: Views,
  turnId: string,
  questionId: string | null,
  told: Pick<MessageView, "content" | "attempt" | "status" | "tools">,
): Views {
  let at = find(views, ({ role, id, turnId: turn }) =>
    role === "user" && (questionId === null ? turn === turnId : id === questionId),
  );
  const former = views[at]?.turnId;
  if (former && former !== turnId) {
    // The question is answered anew: it is this turn's now.
    views = changed(views, at, { turnId }).filter(({ key }) => key !== former);
    at = find(views, ({ id }) => id === questionId);
  }
  const seq = views[at]?.seq ?? null;
  const view: MessageView = {
    ...{ key: turnId, id: null, turnId, role: "assistant", createdAt: null, error: null },
    ...told,
    seq: seq === null ? null : seq + 1,
  };
  if (at < 0 || views.some(({ key }) => key === turnId)) return put(views, view);
  return ordered(views.toSpliced(at + 1, 0, view));
}

function withDelta(told: Transcript, event: FeedEvents["turn:delta"]): Transcript | null {
  const { turn_id: id, attempt, index, text } = event;
  const at = find(told.views, ({ key }) => key === id);
  const view = told.views[at];
  if (!view || view.attempt !== attempt || told.next.get(id) !== index) return null;
  const views = changed(told.views, at, { content: view.content + text });
  return { ...told, views, next: new Map(told.next).set(id, index + 1) };
}

function withTool(told: Transcript, event: FeedEvents["turn:tool"]): Transcript | null {
  const { turn_id: id, attempt, tool } = event;
  const at = find(told.views, ({ key }) => key === id);
  const view = told.views[at];
  if (!view || view.attempt !== attempt) return null;
  const tools = withUse(view.tools ?? [], tool, view.content.length);
  return { ...told, views: changed(told.views, at, { tools }) };
}

function ended(
  told: Transcript,
  turnId: string,
  message: WireMessage | null,
  fields: Partial<MessageView> & { error: CallError | null },
): Transcript {
  const next = new Map(told.next);
  next.delete(turnId);
  const at = find(told.views, ({ key }) => key === turnId);
  const { attempt = 1, tools } = told.views[at] ?? {};
  let { views } = told;
  if (message) views = put(views, { ...viewOf(message), attempt, ...(tools && { tools }), ...fields });
  else if (at >= 0) views = changed(views, at, { content: "", ...fields });
  return { ...told, views, next };
}

function withPlace(views: Views, messageId: string, seq: number | null): Views {
  const at = find(views, ({ id }) => id === messageId);
  if (at < 0) return views;
  views = changed(views, at, { seq });
  const { role, turnId } = views[at]!;
  const answer = role === "user" ? find(views, ({ key, id }) => key === turnId && id === null) : -1;
  if (answer >= 0 && seq !== null) views = changed(views, answer, { seq: seq + 1 });
  return ordered(views);
}

// With a question goes also the place of an answer that never came.
function without(views: Views, ids: ReadonlySet<string>): Views {
  const isGone = ({ id }: MessageView) => id !== null && ids.has(id);
  const turns = new Set(
    views.filter((view) => view.role === "user" && isGone(view)).map(({ turnId }) => turnId),
  );
  return views.filter((view) => !isGone(view) && !(view.id === null && turns.has(view.turnId)));
}
