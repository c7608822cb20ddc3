import { memo, useState } from "react";
import type { ToolUse } from "mnemosio-client";
import { Icon } from "../Icon.tsx";
import { cut } from "./cut.ts";
import { wordsOf } from "./words.ts";

interface Props {
  use: Pick<ToolUse, "id" | "name" | "status" | "input" | "output">;
  /** The answer has ended. */
  isOver: boolean;
}

/** A tool that an answer has used: a quiet line, and on demand what went in and came out. */
export const Use = memo(function Use({ use, isOver }: Props) {
  const [open, setOpen] = useState(false);
  const { name, status, input, output } = use;
  const isRunning = status === "started" && !isOver;
  return (
    <details className="use" data-status={status} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {isRunning ? <i aria-hidden="true" /> : <Icon name={status === "failed" ? "close" : "tool"} />}
        {wordsOf(use, isOver)}
      </summary>
      {open && (
        <dl>
          <dt>Tool</dt>
          <dd>{name}</dd>
          {input && Object.keys(input).length > 0 && <Told what="Input" text={JSON.stringify(input, null, 2)} />}
          {output !== null && <Told what={status === "failed" ? "Error" : "Output"} text={output} />}
        </dl>
      )}
    </details>
  );
});

function Told({ what, text }: { what: string; text: string }) {
  return (
    <>
      <dt>{what}</dt>
      <dd>
        <pre dir="auto" tabIndex={0} aria-label={what}>
          {cut(text)}
        </pre>
      </dd>
    </>
  );
}
