import type { ChatClient, Choice, Conversation } from "mnemosio-client";
import { useStore } from "./useStore.ts";

interface Props {
  client: ChatClient;
  conversation: Conversation;
  onAttempt: (work: () => Promise<void>) => Promise<void>;
}

/** What the conversation is answered with, where the server leaves a choice. */
export function Choices({ client, conversation, onAttempt }: Props) {
  const { models, systemPrompts } = useStore(client.connection);
  const { choice } = useStore(conversation.state);
  const choose = (chosen: Partial<Choice>) => void onAttempt(() => conversation.configure(chosen));
  return (
    <>
      <Picker
        label="Model"
        fallback={`Default (${models[0]})`} // it stands first
        names={models.slice(1)}
        chosen={choice.model}
        onChoose={(model) => choose({ model })}
      />
      <Picker
        label="System prompt"
        fallback="Default prompt"
        names={systemPrompts}
        chosen={choice.systemPrompt}
        onChoose={(systemPrompt) => choose({ systemPrompt })}
      />
    </>
  );
}

interface PickerProps {
  label: string;
  /** What nothing chosen is called. */
  fallback: string;
  names: readonly string[];
  chosen: string | null;
  onChoose: (name: string | null) => void;
}

function Picker({ label, fallback, names, chosen, onChoose }: PickerProps) {
  // What was chosen may be gone from the operator's list since; it is shown all the same.
  const known = chosen === null || names.includes(chosen) ? names : [...names, chosen];
  if (known.length === 0) return null;
  return (
    <select
      className="choice"
      aria-label={label}
      title={label}
      value={chosen ?? ""}
      onChange={(event) => onChoose(event.target.value || null)}
    >
      <option value="">{fallback}</option>
      {known.map((name) => (
        <option key={name}>{name}</option>
      ))}
    </select>
  );
}
