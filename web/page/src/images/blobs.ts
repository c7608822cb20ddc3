// Images of messages as addresses that a browser shows, so many of them. By message and place: what
// is unsent is the same picture once it is sent, and is not fetched then.
import type { Conversation } from "mnemosio-client";

const MOST = 40;
const known = new Map<string, Promise<string>>();

export function addressOfImage(conversation: Conversation, key: string, id: string): Promise<string> {
  const found = known.get(key);
  const address = found ?? conversation.attachment(id).then((blob) => URL.createObjectURL(blob));
  known.delete(key);
  known.set(key, address); // the latest asked for stand last
  if (!found) {
    address.catch(() => known.delete(key)); // asked for again, it may be had
    forgetSome();
  }
  return address;
}

function forgetSome() {
  for (const [key, address] of known) {
    if (known.size <= MOST) return;
    known.delete(key);
    address.then(URL.revokeObjectURL, () => undefined); // what is shown stays shown
  }
}
