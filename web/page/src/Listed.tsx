import { useEffect, useId, useRef, useState } from "react";
import type { ConversationInfo } from "mnemosio-client";
import { messageOf } from "./errors.ts";
import { Icon } from "./Icon.tsx";
import { Link } from "./Link.tsx";
import { isEnter, isEscape } from "./typing.ts";
import { shown } from "./words.ts";

interface Props {
  info: ConversationInfo;
  isOpen: boolean;
  onOpen: () => void;
  onRename: (title: string) => Promise<void>;
  onDelete: () => Promise<void>;
}

/** A line of the list; renamed and deleted in place. */
export function Listed({ info, isOpen, onOpen, onRename, onDelete }: Props) {
  const [doing, setDoing] = useState<"" | "rename" | "delete">("");
  const [error, setError] = useState("");
  const labelled = useId();
  const title = shown(info.title);
  const link = useRef<HTMLAnchorElement>(null);
  const wasDoing = useRef(false);

  useEffect(() => {
    if (wasDoing.current && !doing) link.current?.focus(); // what had the focus is gone
    wasDoing.current = doing !== "";
  }, [doing]);

  async function attempt(work: () => Promise<void>) {
    setDoing("");
    setError("");
    try {
      await work();
    } catch (reason) {
      setError(messageOf(reason));
    }
  }

  if (doing === "rename") {
    return (
      <li className="doing">
        <Title
          title={info.title}
          onDone={(wanted) => {
            if (wanted && wanted !== info.title) void attempt(() => onRename(wanted));
            else setDoing("");
          }}
        />
      </li>
    );
  }
  if (doing === "delete") {
    return (
      <li
        className="doing"
        onKeyDown={(event) => {
          if (!isEscape(event.nativeEvent)) return;
          event.preventDefault();
          setDoing("");
        }}
      >
        <p dir="auto">
          Delete “{title}” for good?
        </p>
        <div>
          <button type="button" className="danger" autoFocus onClick={() => void attempt(onDelete)}>
            Delete
          </button>
          <button type="button" onClick={() => setDoing("")}>
            Keep
          </button>
        </div>
      </li>
    );
  }
  return (
    <li>
      <Link
        ref={link}
        id={labelled}
        to={info.id}
        aria-current={isOpen ? "page" : undefined}
        dir="auto"
        onFollow={onOpen}
      >
        {title}
      </Link>
      <button
        type="button"
        aria-label="Rename"
        aria-describedby={labelled}
        title="Rename"
        onClick={() => setDoing("rename")}
      >
        <Icon name="pencil" />
      </button>
      <button
        type="button"
        aria-label="Delete"
        aria-describedby={labelled}
        title="Delete"
        onClick={() => setDoing("delete")}
      >
        <Icon name="bin" />
      </button>
      {error && (
        <p role="alert" className="wrong">
          {error}
        </p>
      )}
    </li>
  );
}

function Title({ title, onDone }: { title: string; onDone: (title: string | null) => void }) {
  const [text, setText] = useState(title);
  const done = useRef(false);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.select(), []);

  function end(wanted: string | null) {
    if (done.current) return; // what ends it takes the focus away as well
    done.current = true;
    onDone(wanted);
  }

  return (
    <input
      ref={input}
      aria-label="Title"
      dir="auto"
      autoFocus
      maxLength={200}
      value={text}
      onChange={(event) => setText(event.target.value)}
      onBlur={() => end(text.trim())}
      onKeyDown={(event) => {
        if (isEnter(event.nativeEvent)) end(text.trim());
        if (isEscape(event.nativeEvent)) {
          event.preventDefault();
          end(null);
        }
      }}
    />
  );
}
