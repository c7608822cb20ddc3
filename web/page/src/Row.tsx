import { memo, useState } from "react";
import type { Conversation, MessageView } from "mnemosio-client";
import { CopyButton } from "./CopyButton.tsx";
import { edits } from "./drafts.ts";
import { Editor } from "./Editor.tsx";
import { focusBox } from "./focus.ts";
import { Icon } from "./Icon.tsx";
import { Markdown } from "./markdown/Markdown.tsx";

interface Props {
  message: MessageView;
  place: number;
  /** -1: not known yet. */
  count: number;
  isLastAnswer: boolean;
  online: boolean;
  conversation: Conversation;
  onAttempt: (work: () => Promise<void>) => Promise<void>;
}

export const Row = memo(function Row(props: Props) {
  const { message, place, count } = props;
  const isQuestion = message.role === "user";
  const isLive = message.status === "streaming" || message.status === "queued";
  return (
    <article
      className={isQuestion ? "question" : "answer"}
      aria-label={isQuestion ? "You" : "Answer"}
      aria-posinset={place}
      aria-setsize={count}
      aria-busy={isLive}
      tabIndex={-1}
      data-status={message.status}
    >
      {isQuestion ? <Question {...props} /> : <Answer {...props} />}
    </article>
  );
});

function Question({ message, conversation, online, onAttempt }: Props) {
  const { id, content, status, error } = message;
  const [editing, setEditing] = useState(id !== null && edits.has(id));
  const and = (work: () => void) => () => {
    work();
    focusBox(); // the button goes
  };
  const end = and(() => {
    if (id) edits.delete(id);
    setEditing(false);
  });
  if (editing && id) {
    return (
      <Editor
        text={edits.get(id) ?? content}
        onChange={(text) => edits.set(id, text)}
        onCancel={end}
        onDone={(text) => {
          end();
          if (text !== content) void onAttempt(() => conversation.edit(id, text));
        }}
      />
    );
  }
  return (
    <>
      <p className="said" dir="auto">
        {content}
      </p>
      {status === "failed" && id && (
        <div className="below wrong" role="alert">
          <span>Not sent. {error?.message}</span>
          <button type="button" onClick={and(() => conversation.retry(id))}>
            Try again
          </button>
          <button type="button" onClick={and(() => conversation.discard(id))}>
            Discard
          </button>
        </div>
      )}
      {status === "sending" && id && (
        <div className="below">
          <span className={online ? "late" : ""}>
            {online ? "On its way …" : "Waits for the connection"}
          </span>
          {!online && (
            <button type="button" onClick={and(() => conversation.discard(id))}>
              Discard
            </button>
          )}
        </div>
      )}
      {status === "complete" && id && (
        <div className="below tools">
          <Said at={message.createdAt} />
          <CopyButton text={content} label="Copy" />
          <button type="button" className="plain" aria-label="Edit" title="Edit" onClick={() => setEditing(true)}>
            <Icon name="pencil" />
          </button>
        </div>
      )}
    </>
  );
}

function Answer({ message, conversation, isLastAnswer, onAttempt }: Props) {
  const { turnId, content, status, error, attempt } = message;
  const isStreaming = status === "streaming";
  const isOver = !isStreaming && status !== "queued";
  return (
    <>
      {content && <Markdown text={content} streaming={isStreaming} />}
      {status === "queued" && <p className="below">Waits for its turn …</p>}
      {isStreaming && !content && (
        <p className="thinking">
          <span className="heard">Answering …</span>
          <i />
          <i />
          <i />
        </p>
      )}
      {isStreaming && attempt > 1 && <p className="below">The server was interrupted; this answer began anew.</p>}
      {status === "stopped" && <p className="below">Stopped.</p>}
      {(status === "interrupted" || status === "failed") && (
        <p className="below wrong">{error?.message ?? "The answer broke off."}</p>
      )}
      {isOver && (
        <div className="below tools" data-last={isLastAnswer}>
          {content && <CopyButton text={content} label="Copy" />}
          {isLastAnswer && turnId && (
            <button
              type="button"
              className="plain"
              aria-label="Regenerate"
              title="Regenerate"
              onClick={() => {
                void onAttempt(() => conversation.regenerate(turnId));
                focusBox();
              }}
            >
              <Icon name="again" />
            </button>
          )}
          <Said at={message.createdAt} />
        </div>
      )}
    </>
  );
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function Said({ at }: { at: string | null }) {
  if (!at) return null;
  const date = new Date(at);
  const isToday = date.toDateString() === new Date().toDateString();
  return (
    <time dateTime={at} title={day.format(date)}>
      {(isToday ? clock : day).format(date)}
    </time>
  );
}
