import { useEffect, useState } from "react";
import type { Conversation, MessageView } from "mnemosio-client";
import { messageOf } from "../errors.ts";
import { later } from "../later.tsx";
import { addressOfImage } from "./blobs.ts";

const Large = later(() => import("./Large.tsx"));

interface Props {
  message: MessageView;
  conversation: Conversation;
}

/** The images of a message. */
export function Shown({ message, conversation }: Props) {
  const { attachments, key } = message;
  if (!attachments) return null;
  return (
    <ul className="pictures" aria-label="Images">
      {attachments.map(({ id }, index) => (
        <li key={index}>
          <Picture
            id={id}
            known={`${key}/${index}`}
            name={attachments.length > 1 ? `Image ${index + 1} of ${attachments.length}` : "Image"}
            conversation={conversation}
          />
        </li>
      ))}
    </ul>
  );
}

interface PictureProps {
  id: string;
  known: string;
  name: string;
  conversation: Conversation;
}

function Picture({ id, known, name, conversation }: PictureProps) {
  const [address, setAddress] = useState<string>();
  const [error, setError] = useState("");
  const [tries, setTries] = useState(0);
  const [large, setLarge] = useState(false);

  useEffect(() => {
    let isWanted = true;
    setError("");
    addressOfImage(conversation, known, id).then(
      (url) => isWanted && setAddress(url),
      (reason) => isWanted && setError(messageOf(reason)),
    );
    return () => {
      isWanted = false;
    };
    // What it is known by stays, while its id changes as it is sent.
  }, [conversation, known, tries]);

  if (error) {
    return (
      <button type="button" className="picture" onClick={() => setTries(tries + 1)}>
        {error} Try again
      </button>
    );
  }
  return (
    <>
      <button
        type="button"
        className="picture"
        aria-label={`${name}, in full size`}
        disabled={!address}
        onClick={() => setLarge(true)}
      >
        {address && <img src={address} alt={`${name} that you sent`} />}
      </button>
      {large && address && <Large address={address} name={name} onClose={() => setLarge(false)} />}
    </>
  );
}
