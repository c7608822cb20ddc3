// Loaded with the first formula.
import katex, { type KatexOptions } from "katex";
import "katex/dist/katex.min.css";

/** What `toNode` is called on: a part of KaTeX's tree, which its types leave out. */
interface Part {
  attributes?: Record<string, string>;
  children?: readonly Part[];
  toNode(): Node & Partial<ElementCSSInlineStyle>;
}

const { __renderToDomTree: treeOf } = katex as unknown as {
  __renderToDomTree(text: string, options: KatexOptions): Part;
};

/** The page's policy forbids style attributes; the same by script is allowed. */
function withoutStyleAttributes(part: Part): Part {
  part.children?.forEach(withoutStyleAttributes);
  const { style, ...attributes } = part.attributes ?? {};
  if (style === undefined) return part;
  const make = part.toNode.bind(part);
  part.attributes = attributes;
  part.toNode = () => {
    const node = make();
    if (node.style) node.style.cssText += style;
    return node;
  };
  return part;
}

/** False where it is not mathematics that KaTeX can read. */
export function draw(node: HTMLElement, text: string, display: boolean): boolean {
  try {
    const tree = treeOf(text, {
      displayMode: display,
      throwOnError: true,
      trust: false,
      strict: false,
      maxExpand: 200,
      maxSize: 20,
      output: "htmlAndMathml",
    });
    node.replaceChildren(withoutStyleAttributes(tree).toNode());
    return true;
  } catch {
    node.replaceChildren();
    return false;
  }
}
