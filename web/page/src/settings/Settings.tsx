import { useId, useState } from "react";
import type { ChatClient } from "mnemosio-client";
import { Dialog } from "../Dialog.tsx";
import { DataPanel } from "./DataPanel.tsx";
import { MemoryPanel } from "./MemoryPanel.tsx";
import { Tabs } from "./Tabs.tsx";
import { UsagePanel } from "./UsagePanel.tsx";
import "./settings.css";

interface Props {
  client: ChatClient;
  onClose: () => void;
}

const TABS = ["Memory", "Usage", "Your data"] as const;

/** What is rarely wanted: what is known of the person, what was used, and their data as a whole. */
export default function Settings({ client, onClose }: Props) {
  const [tab, setTab] = useState<(typeof TABS)[number]>("Memory");
  const id = useId();
  return (
    <Dialog title="Settings" onClose={onClose}>
      <Tabs id={id} names={TABS} chosen={tab} onChoose={setTab} />
      <div id={`${id}-panel`} role="tabpanel" aria-labelledby={`${id}-${TABS.indexOf(tab)}`} className="panel">
        {tab === "Memory" && <MemoryPanel client={client} onLeave={onClose} />}
        {tab === "Usage" && <UsagePanel client={client} />}
        {tab === "Your data" && <DataPanel client={client} onLeave={onClose} />}
      </div>
    </Dialog>
  );
}
