import { useState } from "react";
import type { ChatClient, ConversationInfo } from "mnemosio-client";
import { go } from "./address.ts";
import { focusBox } from "./focus.ts";
import icon from "./icon.svg";
import { Icon } from "./Icon.tsx";
import { Link } from "./Link.tsx";
import { later } from "./later.tsx";
import { Listed } from "./Listed.tsx";
import { Found } from "./search/Found.tsx";
import { useSearch } from "./search/useSearch.ts";
import { isEscape } from "./typing.ts";
import { useStore } from "./useStore.ts";
import { shown } from "./words.ts";

const Settings = later(() => import("./settings/Settings.tsx"));

interface Props {
  client: ChatClient;
  openId: string | null;
  onLeave: () => void;
}

export function Sidebar({ client, openId, onLeave }: Props) {
  const list = useStore(client.conversations);
  const { status } = useStore(client.connection);
  const [sought, setSought] = useState("");
  const [settingsOpen, setSettingsOpen] = useState(false);
  const search = useSearch(client, sought);
  const isSearch = sought.trim().length > 1;
  const found = list.items.filter((each) => matches(each, sought));

  return (
    <nav className="side" aria-label="Your chats">
      <p className="brand">
        <img src={icon} alt="" width="26" height="26" /> Mnemosio
      </p>
      <Link
        className="new"
        to={null}
        onFollow={() => {
          onLeave();
          focusBox();
        }}
      >
        <Icon name="add" /> New conversation
      </Link>
      <label className="search">
        <Icon name="search" />
        <input
          type="search"
          aria-label="Search your chats"
          placeholder="Search"
          value={sought}
          onChange={(event) => setSought(event.target.value)}
          onKeyDown={(event) => {
            if (!sought || !isEscape(event.nativeEvent)) return;
            event.preventDefault();
            setSought("");
          }}
        />
      </label>
      <div className="listed">
        {groups(found).map(([when, items]) => (
          <section key={when} aria-label={when}>
            <h2>{when}</h2>
            <ul>
              {items.map((each) => (
                <Listed
                  key={each.id}
                  info={each}
                  isOpen={each.id === openId}
                  onOpen={onLeave}
                  onRename={(title) => client.rename(each.id, title)}
                  onDelete={async () => {
                    if (each.id === openId) go(null, { replace: true });
                    focusBox();
                    await client.remove(each.id);
                  }}
                />
              ))}
            </ul>
          </section>
        ))}
        {sought && !found.length && <p className="quiet">Nothing found by that title.</p>}
        {isSearch && <Found search={search} onOpen={onLeave} />}
        {status === "connected" && !sought && !list.items.length && !list.loading && !list.error && (
          <p className="quiet">What you talk about is kept here.</p>
        )}
        {list.error && <p className="quiet">{list.error.message}</p>}
        {list.hasMore && (
          <button
            type="button"
            className="more"
            disabled={list.loading}
            onClick={() => void client.loadMore().catch(() => undefined)}
          >
            {list.loading ? "Loading …" : sought ? "Look at older titles" : "Show more"}
          </button>
        )}
      </div>
      <button type="button" className="plain settings" aria-haspopup="dialog" onClick={() => setSettingsOpen(true)}>
        <Icon name="settings" /> Settings
      </button>
      {settingsOpen && <Settings client={client} onClose={() => setSettingsOpen(false)} />}
    </nav>
  );
}

const folded = (text: string) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

function matches({ title }: ConversationInfo, sought: string): boolean {
  const text = folded(shown(title));
  return folded(sought).split(/\s+/).every((word) => text.includes(word));
}

const DAY = 24 * 60 * 60 * 1000;

function groups(items: readonly ConversationInfo[]): [string, ConversationInfo[]][] {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const found = new Map<string, ConversationInfo[]>();
  for (const item of items) {
    const at = Date.parse(item.updatedAt);
    const when =
      at >= midnight
        ? "Today"
        : at >= midnight - DAY
          ? "Yesterday"
          : at >= midnight - 7 * DAY
            ? "The last seven days"
            : "Earlier";
    found.set(when, [...(found.get(when) ?? []), item]);
  }
  return [...found];
}
