// Loaded with the first formula.
import katex from "katex";
import "katex/dist/katex.min.css";

/** False where it is not mathematics that KaTeX can read. */
export function draw(node: HTMLElement, text: string, display: boolean): boolean {
  try {
    katex.render(text, node, {
      displayMode: display,
      throwOnError: true,
      trust: false,
      strict: false,
      maxExpand: 200,
      maxSize: 20,
      output: "htmlAndMathml",
    });
    return true;
  } catch {
    node.replaceChildren();
    return false;
  }
}
