import { useEffect, useState } from "react";
import type { ChatClient, SearchResult } from "mnemosio-client";
import { messageOf } from "../errors.ts";
import { useStore } from "../useStore.ts";

const PAUSE = 300; // after the last key
const FEWEST = 2; // characters

export interface Search {
  searching: boolean;
  results: readonly SearchResult[];
  error: string;
  /** Of what the results are. */
  query: string;
}

const NOTHING: Search = { searching: false, results: [], error: "", query: "" };

/** Messages with these words, asked of the server when whoever types has paused; and again when
 * what kept it from answering is back. */
export function useSearch(client: ChatClient, sought: string): Search {
  const { status, store } = useStore(client.connection);
  const [search, setSearch] = useState(NOTHING);
  const query = sought.trim().slice(0, 500);

  useEffect(() => {
    if (query.length < FEWEST) {
      setSearch(NOTHING);
      return;
    }
    let isWanted = true;
    setSearch((before) => ({ ...before, searching: true, error: "" }));
    const timer = setTimeout(() => {
      client.search(query).then(
        (results) => isWanted && setSearch({ searching: false, results, error: "", query }),
        (reason) => isWanted && setSearch({ ...NOTHING, error: messageOf(reason), query }),
      );
    }, PAUSE);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [client, query, status, store]);

  return search;
}
