import { useEffect, useState } from "react";
import type { ChatClient } from "mnemosio-client";
import { messageOf } from "../errors.ts";
import { useStore } from "../useStore.ts";
import { FactRow } from "./FactRow.tsx";

interface Props {
  client: ChatClient;
  /** Somebody goes to a fact's source. */
  onLeave: () => void;
}

/** What the server knows of the person, over all conversations. */
export function MemoryPanel({ client: { facts, connection }, onLeave }: Props) {
  const { enabled, items, loading, hasMore, error } = useStore(facts.state);
  const { remembersFacts } = useStore(connection);
  const [wrong, setWrong] = useState("");

  useEffect(() => {
    facts.open();
    return () => facts.close();
  }, [facts]);

  const isOff = enabled === false || (enabled === null && !remembersFacts && !loading);
  return (
    <section>
      {isOff && (
        <p>
          Memory is off on this server: nothing about you is noted, nor told to the model.{" "}
          {items.length > 0 ? "What was noted before is here:" : "Your conversations are kept, and can be searched, all the same."}
        </p>
      )}
      {enabled && <p className="quiet">What is kept in mind about you, from all your conversations.</p>}
      {(error || wrong) && (
        <p role="alert" className="wrong">
          {error ? `This can’t be read now. ${error.message}` : wrong}
        </p>
      )}
      {enabled === null && loading && !error && <p className="quiet">Loading …</p>}
      {enabled && items.length === 0 && !error && (
        <p>Nothing yet. What you say about yourself is noted here, with the message it comes from.</p>
      )}
      {items.length > 0 && (
        <ul className="facts">
          {items.map((fact) => (
            <FactRow key={fact.id} fact={fact} facts={facts} onLeave={onLeave} />
          ))}
        </ul>
      )}
      {hasMore && (
        <button
          type="button"
          onClick={() => void facts.loadMore().catch((reason: unknown) => setWrong(messageOf(reason)))}
        >
          Show more
        </button>
      )}
    </section>
  );
}
