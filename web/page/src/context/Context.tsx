import { useEffect, useState } from "react";
import type { Conversation } from "mnemosio-client";
import { Dialog } from "../Dialog.tsx";
import { messageOf } from "../errors.ts";
import { Given } from "./Given.tsx";
import { givenOf } from "./given.ts";
import "./context.css";

interface Props {
  conversation: Conversation;
  turnId: string;
  onClose: () => void;
}

type Told = Record<string, unknown> | null;

/** What the model was given for an answer, for the curious. */
export default function Context({ conversation, turnId, onClose }: Props) {
  const [told, setTold] = useState<Told | undefined>();
  const [error, setError] = useState("");

  useEffect(() => {
    let isWanted = true;
    conversation.context(turnId).then(
      (context) => isWanted && setTold(context),
      (reason: unknown) => isWanted && setError(messageOf(reason)),
    );
    return () => {
      isWanted = false;
    };
  }, [conversation, turnId]);

  return (
    <Dialog title="What the model was given" onClose={onClose}>
      {error ? (
        <p role="alert" className="wrong">
          This can’t be read now. {error}
        </p>
      ) : told === undefined ? (
        <p className="quiet">Loading …</p>
      ) : told === null ? (
        <p>Nothing was kept of this answer’s context.</p>
      ) : (
        <Given given={givenOf(told)} conversationId={conversation.id} onLeave={onClose} />
      )}
    </Dialog>
  );
}
