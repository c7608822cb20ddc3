import type { ChatClient, Conversation } from "mnemosio-client";
import { Choices } from "./Choices.tsx";
import { ExportMenu } from "./ExportMenu.tsx";
import { Icon } from "./Icon.tsx";

interface Props {
  client: ChatClient;
  conversation: Conversation;
  /** Null: of a new one. */
  title: string | null;
  canExport: boolean;
  canChoose: boolean;
  menuOpen: boolean;
  onMenu: () => void;
  onAttempt: (work: () => Promise<void>) => Promise<void>;
}

export function Header(props: Props) {
  const { client, conversation, title, canExport, canChoose, menuOpen, onMenu, onAttempt } = props;
  return (
    <header>
      <button
        type="button"
        id="menu"
        className="menu plain"
        aria-label="Your chats"
        aria-expanded={menuOpen}
        onClick={onMenu}
      >
        <Icon name="menu" />
      </button>
      <h1 dir="auto">{title ?? <span className="heard">New conversation</span>}</h1>
      {canChoose && <Choices client={client} conversation={conversation} onAttempt={onAttempt} />}
      {canExport && <ExportMenu client={client} conversationId={conversation.id} onAttempt={onAttempt} />}
    </header>
  );
}
