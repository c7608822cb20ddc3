import { useId, useLayoutEffect, useRef, type ReactNode } from "react";
import { Icon } from "./Icon.tsx";
import { isEscape } from "./typing.ts";

interface Props {
  title: string;
  /** How it is laid out, for the style sheet. */
  kind?: string;
  onClose: () => void;
  children: ReactNode;
}

/** Over all else, until it is closed: by its button, by Escape, or by a click beside it. */
export function Dialog({ title, kind, onClose, children }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  const titled = useId();

  // Before it is taken from the document, or the focus would not go back to what opened it.
  useLayoutEffect(() => {
    const dialog = box.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);

  return (
    <dialog
      ref={box}
      aria-labelledby={titled}
      data-kind={kind}
      onKeyDown={(event) => {
        if (!isEscape(event.nativeEvent)) return;
        event.preventDefault(); // it stops no answer
        onClose();
      }}
      onCancel={(event) => {
        if (event.target !== box.current) return; // a file was not chosen
        event.preventDefault();
        onClose();
      }}
      onPointerDown={(event) => {
        if (event.target === box.current) onClose();
      }}
    >
      <div className="inner">
        <header>
          <h2 id={titled}>{title}</h2>
          <button type="button" className="plain" aria-label="Close" onClick={onClose}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
