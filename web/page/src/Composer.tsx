import { useEffect, useLayoutEffect, useRef, useState } from "react";
import type { NewAttachment } from "mnemosio-client";
import { draftOf, keepDraft } from "./drafts.ts";
import { focusBox } from "./focus.ts";
import { Icon } from "./Icon.tsx";
import { Drop } from "./images/Drop.tsx";
import { Pickings } from "./images/Pickings.tsx";
import { TYPES } from "./images/take.ts";
import { imagesOf, usePicked, type Room } from "./images/usePicked.ts";
import { TooLong } from "./TooLong.tsx";
import { excess, fit, isEnter } from "./typing.ts";

interface Props {
  /** The conversation's id; null: a new one. */
  draftKey: string | null;
  answering: boolean;
  /** 0: no limit. */
  maxChars: number;
  /** For images. */
  room: Room;
  onSend: (text: string, images: readonly NewAttachment[]) => void;
  onStop: () => void;
}

export function Composer({ draftKey, answering, maxChars, room, onSend, onStop }: Props) {
  const [text, setText] = useState(() => draftOf(draftKey));
  const images = usePicked(draftKey, room);
  const box = useRef<HTMLTextAreaElement>(null);
  const chooser = useRef<HTMLInputElement>(null);
  const over = excess(text, maxChars);
  const canSend = text.trim() !== "" && over === 0 && !images.working;
  const isBegun = text.trim() !== "" || images.picked.length > 0;
  const takesImages = room.most > 0;

  useEffect(focusBox, []);
  useLayoutEffect(() => fit(box.current), [text]);

  function type(now: string) {
    setText(now);
    keepDraft(draftKey, now);
  }

  function pick(files: readonly File[]) {
    box.current?.focus();
    void images.add(files);
  }

  function send() {
    box.current?.focus();
    if (!canSend) return;
    type("");
    onSend(text, images.taken());
  }

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {takesImages && <Drop onDrop={pick} />}
      <Pickings picked={images.picked} working={images.working} error={images.error} onRemove={images.remove} />
      {takesImages && (
        <>
          <input
            ref={chooser}
            type="file"
            hidden
            multiple
            accept={TYPES.join()}
            aria-label="Images to attach"
            onChange={(event) => {
              pick([...(event.target.files ?? [])]);
              event.target.value = ""; // the same one may be chosen again
            }}
          />
          <button
            type="button"
            className="round attach"
            aria-label="Attach an image"
            title="Attach an image"
            onClick={() => chooser.current?.click()}
          >
            <Icon name="image" />
          </button>
        </>
      )}
      <textarea
        ref={box}
        id="message"
        rows={1}
        dir="auto"
        aria-label="Message"
        aria-describedby={over > 0 ? "too-long" : undefined}
        placeholder={images.picked.length ? "Say something about it" : "Write a message"}
        enterKeyHint="send"
        value={text}
        onChange={(event) => type(event.target.value)}
        onPaste={(event) => {
          const files = takesImages ? imagesOf(event.clipboardData) : [];
          // What an office program copies is a picture as well as the text that is meant.
          if (!files.length || event.clipboardData.getData("text/plain")) return;
          event.preventDefault();
          pick(files);
        }}
        onKeyDown={(event) => {
          if (!isEnter(event.nativeEvent)) return;
          event.preventDefault();
          send();
        }}
      />
      {answering && (
        <button
          type="button"
          className="round stop"
          aria-label="Stop"
          title="Stop (Esc)"
          onClick={() => {
            box.current?.focus();
            onStop();
          }}
        >
          <Icon name="stop" />
        </button>
      )}
      {(!answering || isBegun) && (
        <button className="round send" aria-label="Send" title="Send (Enter)" aria-disabled={!canSend}>
          <Icon name="up" />
        </button>
      )}
      <TooLong id="too-long" over={over} maxChars={maxChars} />
    </form>
  );
}
