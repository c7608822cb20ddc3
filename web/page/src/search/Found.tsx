import type { SearchResult } from "mnemosio-client";
import { Link } from "../Link.tsx";
import { plain } from "../sentences.ts";
import { shown } from "../words.ts";
import { marked, near } from "./marked.tsx";
import type { Search } from "./useSearch.ts";

interface Props {
  search: Search;
  onOpen: () => void;
}

/** What was found in messages; each leads to its place in its conversation. */
export function Found({ search: { searching, results, error, query }, onOpen }: Props) {
  const text = error
    ? `Messages can’t be searched now. ${error}`
    : searching
      ? "Searching …"
      : results.length === 0
        ? "No message has these words."
        : "";
  return (
    <section aria-label="In messages" className="found">
      <h2>In messages</h2>
      <p className={text ? "quiet" : "heard"} aria-live="polite">
        {text || `${results.length} ${results.length === 1 ? "message" : "messages"} found`}
      </p>
      <ul aria-busy={searching}>
        {results.map((result) => (
          <Hit key={result.message.id} result={result} query={query} onOpen={onOpen} />
        ))}
      </ul>
    </section>
  );
}

function Hit({ result, query, onOpen }: { result: SearchResult; query: string; onOpen: () => void }) {
  const { conversation, message, snippet } = result;
  return (
    <li>
      <Link to={conversation.id} message={message.id} onFollow={onOpen}>
        <span className="where" dir="auto">
          {shown(conversation.title)}
        </span>
        <span className="snippet" dir="auto">
          {message.role === "user" ? "You: " : ""}
          {marked(near(message.role === "user" ? snippet : plain(snippet), query), query)}
        </span>
      </Link>
    </li>
  );
}
