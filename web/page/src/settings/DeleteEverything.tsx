import { useId, useState } from "react";
import type { ChatClient } from "mnemosio-client";
import { go } from "../address.ts";
import { messageOf } from "../errors.ts";

const WORDS = "delete everything";

/** All that there is of the person, at once and for good, once they have typed that they mean it. */
export function DeleteEverything({ client, onDone }: { client: ChatClient; onDone: () => void }) {
  const [typed, setTyped] = useState("");
  const [working, setWorking] = useState(false);
  const [error, setError] = useState("");
  const labelled = useId();
  const isMeant = typed.trim().toLowerCase() === WORDS;

  async function remove() {
    setError("");
    setWorking(true);
    try {
      await client.deleteEverything();
      onDone();
      go(null);
    } catch (reason) {
      setError(messageOf(reason));
    }
    setWorking(false);
  }

  return (
    <section>
      <h3>Delete all your data</h3>
      <p className="quiet">
        Every conversation, image and fact of yours is deleted from this server. There is no way back.
      </p>
      <form
        className="row"
        onSubmit={(event) => {
          event.preventDefault();
          if (isMeant && !working) void remove();
        }}
      >
        <label htmlFor={labelled}>To confirm, type “{WORDS}”</label>
        <input
          id={labelled}
          type="text"
          autoComplete="off"
          autoCapitalize="none"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
        />
        <button className="danger" disabled={!isMeant || working}>
          {working ? "Deleting …" : "Delete all my data"}
        </button>
      </form>
      {error && (
        <p role="alert" className="wrong">
          {error}
        </p>
      )}
    </section>
  );
}
