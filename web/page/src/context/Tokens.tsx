import type { Given } from "./given.ts";

const NAMES: Record<string, string> = {
  system: "System prompt",
  summary: "Summary of what was before",
  facts: "Facts about you",
  recalled: "Earlier messages that were found",
  window: "The latest messages",
  question: "Your message",
  tools: "Tools, and what they gave",
};

const count = (number: number) => number.toLocaleString("en");

/** What each part of the prompt cost, against what there was to spend. */
export function Tokens({ given: { parts, total, budget, window } }: { given: Given }) {
  if (!parts.length) return null;
  const all = total ?? parts.reduce((sum, [, tokens]) => sum + tokens, 0);
  return (
    <section>
      <h3>
        {count(all)} tokens{budget === null ? "" : ` of ${count(budget)}`}
      </h3>
      {budget !== null && <meter aria-label="Tokens of the budget" min={0} max={budget} value={Math.min(all, budget)} />}
      <table>
        <thead>
          <tr>
            <th scope="col">Part</th>
            <th scope="col" className="number">
              Tokens
            </th>
          </tr>
        </thead>
        <tbody>
          {parts.map(([name, tokens]) => (
            <tr key={name}>
              <th scope="row">
                {NAMES[name] ?? name}
                {name === "window" && ` (${count(window)})`}
              </th>
              <td className="number">{count(tokens)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
