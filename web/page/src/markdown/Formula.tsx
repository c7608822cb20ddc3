import { memo, useLayoutEffect, useRef, useState } from "react";
import { useLazy } from "./lazily.ts";

const load = () => import("./katex.ts");

/** Mathematics; its source until KaTeX is there, and where that can't read it. */
export const Formula = memo(function Formula({ text, display }: { text: string; display: boolean }) {
  const katex = useLazy(load);
  const node = useRef<HTMLSpanElement>(null);
  const [drawn, setDrawn] = useState(false);

  useLayoutEffect(() => {
    if (!katex || !node.current) return;
    const done = katex.draw(node.current, text, display);
    setDrawn(done);
    if (done && display && node.current.scrollWidth > node.current.clientWidth) node.current.tabIndex = 0;
  }, [katex, text, display]);

  return (
    <span className={display ? "math display" : "math"} dir="ltr">
      <span ref={node} />
      {!drawn && <code>{text}</code>}
    </span>
  );
});
