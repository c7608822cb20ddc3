import { useRef, useState } from "react";
import type { ChatClient } from "mnemosio-client";
import { go } from "../address.ts";
import { messageOf } from "../errors.ts";

const NOT_ONE = "This is not a conversation that was exported as JSON.";

/** A conversation from a file, as it was exported. */
export function Import({ client, onDone }: { client: ChatClient; onDone: () => void }) {
  const [share, setShare] = useState<number | null>(null);
  const [error, setError] = useState("");
  const chooser = useRef<HTMLInputElement>(null);

  async function take(file: File) {
    setError("");
    setShare(0);
    try {
      const id = await client.import(read(await file.text()), setShare);
      onDone();
      go(id);
    } catch (reason) {
      setError(messageOf(reason));
    }
    setShare(null);
  }

  return (
    <section>
      <h3>Import a conversation</h3>
      <p className="quiet">
        From a file that was exported as JSON, here or on another server: open a conversation there, and press Export.
      </p>
      <input
        ref={chooser}
        type="file"
        hidden
        accept="application/json,.json"
        aria-label="Exported conversation"
        onChange={(event) => {
          const [file] = event.target.files ?? [];
          if (file) void take(file);
          event.target.value = "";
        }}
      />
      <div className="row">
        <button type="button" disabled={share !== null} onClick={() => chooser.current?.click()}>
          Choose a file
        </button>
        {share !== null && <progress aria-label="Imported" max={1} value={share} />}
      </div>
      {error && (
        <p role="alert" className="wrong">
          Not imported. {error}
        </p>
      )}
    </section>
  );
}

function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(NOT_ONE);
  }
}
