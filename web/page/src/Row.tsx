import { memo, useState } from "react";
import type { CallError, Conversation, MessageView } from "mnemosio-client";
import { AnswerText } from "./AnswerText.tsx";
import { CopyButton } from "./CopyButton.tsx";
import { edits } from "./drafts.ts";
import { Editor } from "./Editor.tsx";
import { Feedback } from "./Feedback.tsx";
import { focusBox } from "./focus.ts";
import { Icon } from "./Icon.tsx";
import { Shown } from "./images/Shown.tsx";
import { later } from "./later.tsx";
import { notSent } from "./words.ts";

const Context = later(() => import("./context/Context.tsx"));

interface Props {
  message: MessageView;
  place: number;
  /** -1: not known yet. */
  count: number;
  /** Nothing is behind it on the server: a question that is not answered, an answer to be had anew. */
  isLast: boolean;
  /** It was looked for. */
  isFound: boolean;
  /** Why what is on its way has to wait. */
  trouble: CallError | null;
  online: boolean;
  /** 0: no limit. */
  maxChars: number;
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
      data-id={message.id}
      data-found={props.isFound || undefined}
    >
      {isQuestion ? <Question {...props} /> : <Answer {...props} />}
    </article>
  );
});

function Question({ message, isLast, trouble, online, maxChars, conversation, onAttempt }: Props) {
  const { id, turnId, content, status, error } = message;
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
        maxChars={maxChars}
        onChange={(text) => edits.set(id, text)}
        onCancel={end}
        onDone={async (text) => {
          if (text !== content) await conversation.edit(id, text);
          end();
        }}
      />
    );
  }
  const isOnItsWay = online && !trouble;
  return (
    <>
      <Shown message={message} conversation={conversation} />
      <p className="said" dir="auto">
        {content}
      </p>
      {status === "failed" && id && (
        <div className="below wrong">
          <span>{notSent(error)}</span>
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
          <span className={isOnItsWay ? "late" : ""}>
            {isOnItsWay ? "On its way …" : online ? trouble?.message : "Waits for the connection"}
          </span>
          {!isOnItsWay && (
            <button type="button" onClick={and(() => conversation.discard(id))}>
              Discard
            </button>
          )}
        </div>
      )}
      {isLast && turnId && (
        <div className="below">
          <span>No answer.</span>
          <button type="button" onClick={and(() => void onAttempt(() => conversation.regenerate(turnId)))}>
            Try again
          </button>
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

function Answer({ message, conversation, isLast, onAttempt }: Props) {
  const { id, turnId, content, status, error, attempt, tools, feedback } = message;
  const [inspecting, setInspecting] = useState(false);
  const isStreaming = status === "streaming";
  const isOver = !isStreaming && status !== "queued";
  const isThinking = isStreaming && !content && !tools?.some((each) => each.status === "started");
  const buttons = isOver && (
    <>
      {isLast && turnId && (
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
      {turnId && (
        <button
          type="button"
          className="plain"
          aria-label="What the model was given"
          title="What the model was given"
          aria-haspopup="dialog"
          onClick={() => setInspecting(true)}
        >
          <Icon name="about" />
        </button>
      )}
      <Said at={message.createdAt} />
    </>
  );
  return (
    <>
      <AnswerText message={message} />
      {status === "queued" && <p className="below">Waits for its turn …</p>}
      {isThinking && (
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
        <div className="below tools" data-last={isLast} data-rated={feedback !== undefined}>
          {content && <CopyButton text={content} label="Copy" />}
          {id ? (
            <Feedback message={{ ...message, id }} conversation={conversation} onAttempt={onAttempt}>
              {buttons}
            </Feedback>
          ) : (
            buttons
          )}
        </div>
      )}
      {inspecting && turnId && (
        <Context conversation={conversation} turnId={turnId} onClose={() => setInspecting(false)} />
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
