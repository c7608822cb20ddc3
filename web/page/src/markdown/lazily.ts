import { useEffect, useRef, useState } from "react";

const loaded = new Map<() => Promise<unknown>, unknown>();

/** What `load` gives, when it is there; null until then, and where it can't be had. */
export function useLazy<T>(load: () => Promise<T>, onFailure = () => {}): T | null {
  const failed = useRef(onFailure);
  failed.current = onFailure;
  const [there, setThere] = useState<T | null>(() => (loaded.get(load) as T | undefined) ?? null);
  useEffect(() => {
    if (there) return;
    let isWanted = true;
    load().then(
      (module) => {
        loaded.set(load, module);
        if (isWanted) setThere(() => module);
      },
      () => isWanted && failed.current(), // offline: shown without it
    );
    return () => {
      isWanted = false;
    };
  }, [load, there]);
  return there;
}

/** The value as it was at most `ms` ago; 0: the value itself. */
export function useSettled(value: string, ms: number): string {
  const [settled, setSettled] = useState(value);
  const latest = useRef(value);
  latest.current = value;
  useEffect(() => {
    if (ms === 0) return;
    const timer = setInterval(() => setSettled(latest.current), ms);
    return () => clearInterval(timer);
  }, [ms]);
  return ms === 0 ? value : value.startsWith(settled) ? settled : value;
}
