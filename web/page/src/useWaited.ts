import { useEffect, useState } from "react";

/** Whether this has been so for a moment: what is over at once is not worth a word. */
export function useWaited(waiting: boolean, ms = 700): boolean {
  const [waited, setWaited] = useState(false);
  useEffect(() => {
    if (!waiting) return;
    const timer = setTimeout(() => setWaited(true), ms);
    return () => {
      clearTimeout(timer);
      setWaited(false);
    };
  }, [waiting, ms]);
  return waiting && waited;
}
