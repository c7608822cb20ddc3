import type { ChatClient } from "mnemosio-client";
import { DeleteEverything } from "./DeleteEverything.tsx";
import { Import } from "./Import.tsx";

interface Props {
  client: ChatClient;
  /** There is something else to be seen now. */
  onLeave: () => void;
}

/** The person's data as a whole: in, and away. */
export function DataPanel({ client, onLeave }: Props) {
  return (
    <>
      <Import client={client} onDone={onLeave} />
      <DeleteEverything client={client} onDone={onLeave} />
    </>
  );
}
