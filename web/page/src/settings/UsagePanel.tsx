import { useEffect, useState } from "react";
import type { ChatClient, Usage, Used } from "mnemosio-client";
import { messageOf } from "../errors.ts";

const DAYS = 30;
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const NOTHING: Used = { turns: 0, inputTokens: 0, outputTokens: 0, totalTokens: 0 };

/** How many tokens the person has used, and how many are left. */
export function UsagePanel({ client }: { client: ChatClient }) {
  const [usage, setUsage] = useState<Usage | null>(null);
  const [error, setError] = useState("");

  useEffect(() => {
    let isWanted = true;
    client.usage({ days: DAYS }).then(
      (told) => isWanted && setUsage(told),
      (reason: unknown) => isWanted && setError(messageOf(reason)),
    );
    return () => {
      isWanted = false;
    };
  }, [client]);

  if (error) {
    return (
      <p role="alert" className="wrong">
        This can’t be read now. {error}
      </p>
    );
  }
  if (!usage) return <p className="quiet">Loading …</p>;
  const today = usage.days.find(({ day }) => day === new Date().toISOString().slice(0, 10)) ?? NOTHING;
  const { budget } = usage;
  return (
    <section>
      {budget && (
        <>
          <h3>Today’s budget</h3>
          <meter
            aria-label="Tokens used of today’s budget"
            max={budget.limit}
            optimum={0}
            low={budget.limit * 0.8}
            high={budget.limit - 1}
            value={budget.used}
          />
          <p>
            {count(budget.used)} of {count(budget.limit)} tokens. It begins anew on {moment.format(new Date(budget.resetsAt))}.
          </p>
        </>
      )}
      <table>
        <thead>
          <tr>
            <th scope="col">Tokens</th>
            <th scope="col" className="number">
              Today (UTC)
            </th>
            <th scope="col" className="number">
              {DAYS} days
            </th>
          </tr>
        </thead>
        <tbody>
          {ROWS.map(([label, field]) => (
            <tr key={field}>
              <th scope="row">{label}</th>
              <td className="number">{count(today[field])}</td>
              <td className="number">{count(usage[field])}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

const ROWS: [string, keyof Used][] = [
  ["Read by the model", "inputTokens"],
  ["Written by it", "outputTokens"],
  ["Together", "totalTokens"],
  ["Answers", "turns"],
];

const count = (number: number) => number.toLocaleString("en");
