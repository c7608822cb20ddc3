import { useEffect, useState } from "react";
import type { ChatClient } from "mnemosio-client";
import { address, go } from "./address.ts";
import { Chat } from "./Chat.tsx";
import { Sidebar } from "./Sidebar.tsx";
import { useStore } from "./useStore.ts";
import { shown } from "./words.ts";

export function App({ client }: { client: ChatClient }) {
  const id = useStore(address);
  const { items } = useStore(client.conversations);
  const [fresh, setFresh] = useState(() => client.create());
  const [menuOpen, setMenuOpen] = useState(false);
  const conversation = id === null ? fresh : client.conversation(id);
  const title = shown(items.find((each) => each.id === id)?.title ?? "");

  useEffect(() => {
    document.title = id === null ? "Mnemosio" : `${title} · Mnemosio`;
  }, [id, title]);
  useEffect(() => setMenuOpen(false), [id]);
  useEffect(() => {
    if (!menuOpen) return;
    const close = (event: KeyboardEvent) => event.key === "Escape" && setMenuOpen(false);
    window.addEventListener("keydown", close);
    return () => window.removeEventListener("keydown", close);
  }, [menuOpen]);

  function began() {
    if (id !== null) return;
    go(fresh.id);
    setFresh(client.create());
  }

  return (
    <div className="frame" data-menu={menuOpen ? "open" : "closed"}>
      <Sidebar client={client} openId={id} onLeave={() => setMenuOpen(false)} />
      <div className="veil" onClick={() => setMenuOpen(false)} />
      <Chat
        key={conversation.id}
        client={client}
        conversation={conversation}
        isNew={id === null}
        title={title}
        onBegin={began}
        menuOpen={menuOpen}
        onMenu={() => setMenuOpen(!menuOpen)}
      />
    </div>
  );
}
