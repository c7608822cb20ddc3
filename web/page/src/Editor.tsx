import { useEffect, useId, useLayoutEffect, useRef, useState } from "react";
import { messageOf } from "./errors.ts";
import { TooLong } from "./TooLong.tsx";
import { excess, fit, isEnter, isEscape } from "./typing.ts";

interface Props {
  /** To begin with. */
  text: string;
  /** 0: no limit. */
  maxChars: number;
  onChange: (text: string) => void;
  /** Where it fails, what was typed stays here. */
  onDone: (text: string) => Promise<void>;
  onCancel: () => void;
}

/** Changes a question in its place. */
export function Editor({ text, maxChars, onChange, onDone, onCancel }: Props) {
  const [now, setNow] = useState(text);
  const [saving, setSaving] = useState(false);
  const [error, setError] = useState("");
  const box = useRef<HTMLTextAreaElement>(null);
  const tooLong = useId();
  const over = excess(now, maxChars);
  const canSave = now.trim() !== "" && over === 0 && !saving;

  useEffect(() => {
    box.current?.focus({ preventScroll: true });
    box.current?.setSelectionRange(box.current.value.length, box.current.value.length);
  }, []);
  useLayoutEffect(() => fit(box.current), [now]);

  async function save() {
    box.current?.focus({ preventScroll: true });
    if (!canSave) return;
    setError("");
    setSaving(true);
    try {
      await onDone(now);
    } catch (reason) {
      setError(messageOf(reason));
    }
    setSaving(false);
  }

  return (
    <form
      className="editor"
      aria-busy={saving}
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <textarea
        ref={box}
        rows={1}
        dir="auto"
        aria-label="What you said"
        aria-describedby={over > 0 ? tooLong : undefined}
        readOnly={saving}
        value={now}
        onChange={(event) => {
          setNow(event.target.value);
          onChange(event.target.value);
        }}
        onKeyDown={(event) => {
          if (isEscape(event.nativeEvent)) {
            event.preventDefault();
            if (!saving) onCancel();
          } else if (isEnter(event.nativeEvent)) {
            event.preventDefault();
            void save();
          }
        }}
      />
      <TooLong id={tooLong} over={over} maxChars={maxChars} />
      {error && (
        <p role="alert" className="wrong">
          Not saved. {error}
        </p>
      )}
      <p role="status">{saving ? "Saving …" : "What follows it is answered anew."}</p>
      <button type="button" disabled={saving} onClick={onCancel}>
        Cancel
      </button>
      <button className="accent" disabled={!canSave}>
        Save
      </button>
    </form>
  );
}
