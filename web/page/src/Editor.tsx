import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { fit, isEnter } from "./typing.ts";

interface Props {
  /** To begin with. */
  text: string;
  onChange: (text: string) => void;
  onDone: (text: string) => void;
  onCancel: () => void;
}

/** Changes a question in its place. */
export function Editor({ text, onChange, onDone, onCancel }: Props) {
  const [now, setNow] = useState(text);
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    box.current?.focus({ preventScroll: true });
    box.current?.setSelectionRange(box.current.value.length, box.current.value.length);
  }, []);
  useLayoutEffect(() => fit(box.current), [now]);
  const done = () => now.trim() && onDone(now);

  return (
    <form
      className="editor"
      onSubmit={(event) => {
        event.preventDefault();
        done();
      }}
    >
      <textarea
        ref={box}
        rows={1}
        dir="auto"
        aria-label="What you said"
        value={now}
        onChange={(event) => {
          setNow(event.target.value);
          onChange(event.target.value);
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            event.preventDefault(); // it does not stop the answer as well
            onCancel();
          } else if (isEnter(event.nativeEvent)) {
            event.preventDefault();
            done();
          }
        }}
      />
      <p>What follows it is answered anew.</p>
      <button type="button" onClick={onCancel}>
        Cancel
      </button>
      <button className="accent" disabled={!now.trim()}>
        Save
      </button>
    </form>
  );
}
