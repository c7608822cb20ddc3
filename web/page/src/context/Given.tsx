import type { ReactNode } from "react";
import { Link } from "../Link.tsx";
import { cut } from "../tools/cut.ts";
import { Use } from "../tools/Use.tsx";
import type { Given as GivenContext } from "./given.ts";
import { Tokens } from "./Tokens.tsx";

interface Props {
  given: GivenContext;
  conversationId: string;
  onLeave: () => void;
}

const MOST = 20_000; // characters of one text

export function Given({ given, conversationId, onLeave }: Props) {
  const { model, rounds, systemPrompt, summary, facts, recalled, tools, leftOut } = given;
  return (
    <>
      {(model || rounds !== null) && (
        <p>
          {model && (
            <>
              Model: <strong>{model}</strong>
            </>
          )}
          {rounds !== null && rounds > 1 && `, asked ${rounds} times`}
        </p>
      )}
      <Tokens given={given} />
      {leftOut.length > 0 && (
        <section>
          <h3>What had to be left out</h3>
          <ul>
            {leftOut.map((each) => (
              <li key={each}>{each}</li>
            ))}
          </ul>
        </section>
      )}
      {systemPrompt && (
        <Fold title="System prompt">
          <Text label="System prompt" text={systemPrompt} />
        </Fold>
      )}
      {summary && (
        <Fold title={summary.upto === null ? "Summary" : `Summary of the first ${summary.upto} messages`}>
          <Text label="Summary" text={summary.text} />
        </Fold>
      )}
      {facts.length > 0 && (
        <Fold title={`Facts about you (${facts.length})`}>
          <ul>
            {facts.map((fact, index) => (
              <li key={index} dir="auto">
                {fact}
              </li>
            ))}
          </ul>
        </Fold>
      )}
      {recalled.length > 0 && (
        <Fold title={`Earlier messages that were found (${recalled.length})`}>
          <ul>
            {recalled.map(({ messageId, conversationId: elsewhere, text }) => (
              <li key={messageId} dir="auto">
                {cut(text, 600)}{" "}
                <Link to={elsewhere ?? conversationId} message={messageId} onFollow={onLeave}>
                  Go there
                </Link>
              </li>
            ))}
          </ul>
        </Fold>
      )}
      {tools.length > 0 && (
        <section>
          <h3>Tools</h3>
          {tools.map((use) => (
            <Use key={use.id} use={use} isOver />
          ))}
        </section>
      )}
    </>
  );
}

function Fold({ title, children }: { title: string; children: ReactNode }) {
  return (
    <details className="fold">
      <summary>{title}</summary>
      {children}
    </details>
  );
}

function Text({ label, text }: { label: string; text: string }) {
  return (
    <pre dir="auto" tabIndex={0} aria-label={label}>
      {cut(text, MOST)}
    </pre>
  );
}
