import { useEffect, useState } from "react";
import type { ChatClient } from "mnemosio-client";
import { address, go } from "./address.ts";
import { Chat } from "./Chat.tsx";
import { focusMenu, leaveMenu } from "./focus.ts";
import { Sidebar } from "./Sidebar.tsx";
import { isEscape } from "./typing.ts";
import { useStore } from "./useStore.ts";
import { shown } from "./words.ts";

// As in styles/frame.css: where the list of chats lies over the chat.
const NARROW = "(max-width: 48rem)";

export function App({ client }: { client: ChatClient }) {
  const place = useStore(address);
  const { id } = place;
  const { items } = useStore(client.conversations);
  const [fresh, setFresh] = useState(() => client.create());
  const [menuOpen, setMenuOpen] = useState(false);
  const conversation = id === null ? fresh : client.conversation(id);
  const title = shown(items.find((each) => each.id === id)?.title ?? "");

  useEffect(() => {
    document.title = id === null ? "Mnemosio" : `${title} · Mnemosio`;
  }, [id, title]);
  useEffect(() => setMenuOpen(false), [place]);
  useEffect(() => {
    if (!menuOpen) return;
    const close = () => setMenuOpen(false);
    const asked = (event: KeyboardEvent) => {
      if (!isEscape(event)) return;
      event.preventDefault();
      close();
    };
    const narrow = matchMedia(NARROW);
    window.addEventListener("keydown", asked);
    narrow.addEventListener("change", close);
    focusMenu();
    return () => {
      window.removeEventListener("keydown", asked);
      narrow.removeEventListener("change", close);
      leaveMenu();
    };
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
        place={place}
        title={title}
        onBegin={began}
        menuOpen={menuOpen}
        onMenu={() => setMenuOpen(!menuOpen)}
      />
    </div>
  );
}
