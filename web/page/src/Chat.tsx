import { useEffect, useRef, useState } from "react";
import type { ChatClient, Conversation } from "mnemosio-client";
import type { Place } from "./address.ts";
import { Composer } from "./Composer.tsx";
import { messageOf } from "./errors.ts";
import { Header } from "./Header.tsx";
import { Icon } from "./Icon.tsx";
import { Link } from "./Link.tsx";
import { Spoken } from "./Spoken.tsx";
import { Transcript, type TranscriptHandle } from "./Transcript.tsx";
import { isEscape } from "./typing.ts";
import { useStore } from "./useStore.ts";
import { useWaited } from "./useWaited.ts";
import { failureOf, noticeOf } from "./words.ts";

interface Props {
  client: ChatClient;
  conversation: Conversation;
  isNew: boolean;
  /** Where in it somebody went. */
  place: Place;
  title: string;
  onBegin: () => void;
  menuOpen: boolean;
  onMenu: () => void;
}

export function Chat({ client, conversation, isNew, place, title, onBegin, menuOpen, onMenu }: Props) {
  const state = useStore(conversation.state);
  const connection = useStore(client.connection);
  const waited = useWaited(connection.status !== "connected");
  const transcript = useRef<TranscriptHandle>(null);
  const [wrong, setWrong] = useState("");
  const notice = noticeOf(connection, waited) ?? failureOf(state);
  const maxChars = connection.limits.message_chars ?? 0;

  useEffect(() => {
    conversation.open();
    return () => conversation.close();
  }, [conversation]);

  async function attempt(work: () => Promise<void>) {
    setWrong("");
    try {
      await work();
    } catch (reason) {
      setWrong(messageOf(reason));
    }
  }
  const stop = () => void attempt(() => conversation.stop());

  useEffect(() => {
    if (!state.answering || menuOpen) return;
    const asked = (event: KeyboardEvent) => {
      if (isEscape(event)) stop();
    };
    window.addEventListener("keydown", asked);
    return () => window.removeEventListener("keydown", asked);
  });

  const isEmpty = state.messages.length === 0;
  const isGone = !isNew && (state.status === "missing" || (state.status === "failed" && isEmpty));

  return (
    <main className="chat" inert={menuOpen}>
      <Header
        client={client}
        conversation={conversation}
        title={isNew ? null : title}
        canExport={!isNew && !isEmpty && !isGone}
        canChoose={!isGone}
        menuOpen={menuOpen}
        onMenu={onMenu}
        onAttempt={attempt}
      />

      {isGone ? (
        <div className="welcome">
          <h2>{state.status === "missing" ? "This conversation is not here" : "This can’t be shown now"}</h2>
          <p>
            {state.status === "missing"
              ? "It was deleted, or it is somebody else’s."
              : (state.error?.message ?? "Try again in a moment.")}
          </p>
          <Link className="button" to={null}>
            Begin a new one
          </Link>
        </div>
      ) : isEmpty && (isNew || state.status === "new" || state.status === "ready") ? (
        <div className="welcome">
          <h2>What is on your mind?</h2>
          <p>Everything you talk about here is remembered: reload, come back tomorrow, and go on.</p>
        </div>
      ) : isEmpty ? (
        <div className="welcome" aria-busy="true">
          <p>{waited ? "" : "Loading …"}</p>
        </div>
      ) : (
        <Transcript
          ref={transcript}
          conversation={conversation}
          state={state}
          sought={place}
          online={connection.status === "connected"}
          maxChars={maxChars}
          onAttempt={attempt}
        />
      )}

      <div className="foot">
        {wrong && (
          <p role="alert" className="notice" data-tone="warning">
            {wrong}
            <button type="button" className="plain" aria-label="Dismiss" onClick={() => setWrong("")}>
              <Icon name="close" />
            </button>
          </p>
        )}
        <div role="status">
          {notice && (
            <p className="notice" data-tone={notice.tone}>
              {notice.text}
            </p>
          )}
        </div>
        {!isGone && (
          <Composer
            draftKey={isNew ? null : conversation.id}
            answering={state.answering}
            maxChars={maxChars}
            room={{
              most: connection.limits.attachments ?? 0,
              mostBytes: connection.limits.attachment_bytes ?? 0,
            }}
            onSend={(text, attachments) => {
              setWrong("");
              conversation.send(text, { attachments });
              transcript.current?.toEnd();
              onBegin();
            }}
            onStop={stop}
          />
        )}
      </div>
      <Spoken state={state} />
    </main>
  );
}
