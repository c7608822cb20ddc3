import { memo, type ReactNode } from "react";
import { CopyButton } from "../CopyButton.tsx";
import { useLazy, useSettled } from "./lazily.ts";

const TOO_LONG = 50_000;

/** A block of code. Its colours come when what makes them is loaded, and while it streams a few
 * times a second. */
export const Code = memo(function Code({ text, lang, live }: { text: string; lang?: string; live: boolean }) {
  const name = /^[\w+#.-]+/.exec(lang ?? "")?.[0] ?? "";
  const settled = useSettled(text, live ? 250 : 0);
  return (
    <figure className="code">
      <figcaption>
        <span>{name || "Text"}</span>
        <CopyButton text={text} label="Copy code" />
      </figcaption>
      <pre dir="ltr" tabIndex={0}>
        <code>
          {name && settled.length <= TOO_LONG ? <Coloured text={settled} lang={name} /> : settled}
          {text.startsWith(settled) ? text.slice(settled.length) : ""}
        </code>
      </pre>
    </figure>
  );
});

const load = () => import("./colours.tsx");

const Coloured = memo(function Coloured({ text, lang }: { text: string; lang: string }): ReactNode {
  const colours = useLazy(load);
  return colours ? colours.coloured(text, lang) : text;
});
