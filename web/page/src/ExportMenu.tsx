import { useEffect, useRef, useState } from "react";
import type { ChatClient, ExportFormat } from "mnemosio-client";
import { download } from "./download.ts";
import { Icon } from "./Icon.tsx";
import { isEscape } from "./typing.ts";

interface Props {
  client: ChatClient;
  conversationId: string;
  onAttempt: (work: () => Promise<void>) => Promise<void>;
}

const FORMATS: [ExportFormat, string][] = [
  ["markdown", "Markdown, to read"],
  ["json", "JSON, to import again"],
];

/** Takes the conversation away as a file. */
export function ExportMenu({ client, conversationId, onAttempt }: Props) {
  const [open, setOpen] = useState(false);
  const [working, setWorking] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    if (!open) return;
    box.current?.querySelector<HTMLElement>(".choices button")?.focus();
    const elsewhere = (event: PointerEvent) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    window.addEventListener("pointerdown", elsewhere);
    return () => window.removeEventListener("pointerdown", elsewhere);
  }, [open]);

  async function save(format: ExportFormat) {
    setOpen(false);
    opener.current?.focus();
    setWorking(true);
    await onAttempt(async () => download(await client.export(conversationId, format)));
    setWorking(false);
  }

  return (
    <div
      ref={box}
      className="popup"
      onKeyDown={(event) => {
        if (!open || !isEscape(event.nativeEvent)) return;
        event.preventDefault();
        setOpen(false);
        opener.current?.focus();
      }}
      onBlur={(event) => {
        if (event.relatedTarget && !box.current?.contains(event.relatedTarget)) setOpen(false);
      }}
    >
      <button
        ref={opener}
        type="button"
        className="plain"
        aria-label="Export"
        title="Export"
        aria-expanded={open}
        aria-disabled={working}
        onClick={() => setOpen(!open && !working)}
      >
        <Icon name="save" />
      </button>
      {open && (
        <div className="choices" role="group" aria-label="Export as">
          {FORMATS.map(([format, words]) => (
            <button key={format} type="button" className="plain" onClick={() => void save(format)}>
              {words}
            </button>
          ))}
        </div>
      )}
      <span className="heard" aria-live="polite">
        {working ? "Exporting …" : ""}
      </span>
    </div>
  );
}
