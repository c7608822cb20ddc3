import { useEffect, useId, useRef, useState } from "react";
import type { Fact, Facts } from "mnemosio-client";
import { messageOf } from "../errors.ts";
import { Icon } from "../Icon.tsx";
import { Link } from "../Link.tsx";
import { isEscape } from "../typing.ts";

interface Props {
  fact: Fact;
  facts: Facts;
  onLeave: () => void;
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** One fact; corrected and deleted in place. */
export function FactRow({ fact, facts, onLeave }: Props) {
  const { id, text, confidence, updatedAt, edited, source } = fact;
  const [doing, setDoing] = useState<"" | "correct" | "delete">("");
  const [error, setError] = useState("");
  const [now, setNow] = useState(text);
  const described = useId();
  const opener = useRef<HTMLButtonElement>(null);
  const wasDoing = useRef(false);

  useEffect(() => {
    if (wasDoing.current && !doing) opener.current?.focus(); // what had the focus is gone
    wasDoing.current = doing !== "";
  }, [doing]);

  async function attempt(work: () => Promise<void>) {
    setError("");
    try {
      await work();
      setDoing("");
    } catch (reason) {
      setError(messageOf(reason));
    }
  }
  function save() {
    const wanted = now.trim();
    if (!wanted || wanted === text) return setDoing("");
    void attempt(() => facts.correct(id, wanted));
  }

  return (
    <li
      onKeyDown={(event) => {
        if (!doing || !isEscape(event.nativeEvent)) return;
        event.preventDefault(); // it closes no more than this
        setDoing("");
      }}
    >
      {doing === "correct" ? (
        <form
          className="row"
          onSubmit={(event) => {
            event.preventDefault();
            save();
          }}
        >
          <input
            type="text"
            dir="auto"
            autoFocus
            aria-label="Fact"
            maxLength={300}
            value={now}
            onChange={(event) => setNow(event.target.value)}
          />
          <button className="accent">Save</button>
          <button type="button" onClick={() => setDoing("")}>
            Cancel
          </button>
        </form>
      ) : (
        <p id={described} dir="auto">
          {text}
        </p>
      )}
      {doing === "delete" && (
        <div className="row">
          <span>Forget this for good?</span>
          <button type="button" className="danger" autoFocus onClick={() => void attempt(() => facts.remove(id))}>
            Delete
          </button>
          <button type="button" onClick={() => setDoing("")}>
            Keep
          </button>
        </div>
      )}
      {error && (
        <p role="alert" className="wrong">
          {error}
        </p>
      )}
      {!doing && (
        <div className="row quiet">
          <span>
            {edited ? "Corrected by you" : `${Math.round(confidence * 100)} % sure`}, {day.format(new Date(updatedAt))}
          </span>
          {source && (
            <Link
              to={source.conversationId}
              message={source.messageId}
              aria-describedby={described}
              onFollow={onLeave}
            >
              Where you said so
            </Link>
          )}
          <button
            ref={opener}
            type="button"
            className="plain"
            aria-label="Correct"
            title="Correct"
            aria-describedby={described}
            onClick={() => {
              setNow(text);
              setDoing("correct");
            }}
          >
            <Icon name="pencil" />
          </button>
          <button
            type="button"
            className="plain"
            aria-label="Delete"
            title="Delete"
            aria-describedby={described}
            onClick={() => setDoing("delete")}
          >
            <Icon name="bin" />
          </button>
        </div>
      )}
    </li>
  );
}
