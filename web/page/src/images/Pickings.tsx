import { useEffect, useState } from "react";
import { Icon } from "../Icon.tsx";
import type { Picked } from "./picked.ts";

interface Props {
  picked: readonly Picked[];
  working: boolean;
  error: string;
  onRemove: (key: string) => void;
}

/** What will go with the message, above the box. */
export function Pickings({ picked, working, error, onRemove }: Props) {
  return (
    <>
      {picked.length > 0 && (
        <ul className="pickings" aria-label="Images to send">
          {picked.map((each) => (
            <li key={each.key}>
              <Preview picked={each} />
              <button
                type="button"
                className="round"
                aria-label={`Remove ${each.name}`}
                title="Remove"
                onClick={() => onRemove(each.key)}
              >
                <Icon name="close" />
              </button>
            </li>
          ))}
        </ul>
      )}
      <p className="beside" role="status">
        {working ? "Preparing the image …" : error}
      </p>
    </>
  );
}

function Preview({ picked: { image, name } }: { picked: Picked }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([image.data], { type: image.mediaType }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [image]);
  return <img src={url} alt={name} />;
}
