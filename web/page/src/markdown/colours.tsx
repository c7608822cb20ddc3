// Loaded with the first block of code that names its language.
import type { Element, Root, RootContent } from "hast";
import { common, createLowlight } from "lowlight";
import { Fragment, type ReactNode } from "react";

const lowlight = createLowlight(common);

export function coloured(text: string, lang: string): ReactNode {
  const name = lang.toLowerCase();
  if (!lowlight.registered(name)) return text;
  return children(lowlight.highlight(name, text));
}

function children(node: Root | Element): ReactNode {
  return node.children.map((child, index) => <Fragment key={index}>{drawn(child)}</Fragment>);
}

// By classes: styles in the elements are against the page's policy.
function drawn(node: RootContent): ReactNode {
  if (node.type === "text") return node.value;
  if (node.type !== "element") return null;
  const names = node.properties.className;
  return <span className={Array.isArray(names) ? names.join(" ") : undefined}>{children(node)}</span>;
}
