import type { Token } from "marked";
import { createElement, memo, useRef, type ReactNode } from "react";
import { Blocks } from "./blocks.ts";
import { Code } from "./Code.tsx";
import { resolved } from "./entities.ts";
import { Formula } from "./Formula.tsx";
import { safeAddress } from "./links.ts";

/** An answer's Markdown. Nothing in it ever becomes markup: its tokens become elements here. */
export const Markdown = memo(function Markdown({ text, streaming }: { text: string; streaming: boolean }) {
  const blocks = useRef<Blocks>(null);
  blocks.current ??= new Blocks();
  const tokens = blocks.current.update(text);
  return (
    <div className="markdown" data-streaming={streaming || undefined}>
      {tokens.map((token, index) => (
        <Block key={index} token={token} live={streaming && index === tokens.length - 1} />
      ))}
    </div>
  );
});

const Block = memo(function Block({ token, live }: { token: Token; live: boolean }) {
  return block(token, 0, live);
});

const DEEPEST = 40;

// The types of marked's tokens overlap with those of its extensions, which may be anything.
type Any = Token & Record<string, any>;

function each(tokens: Token[] | undefined, draw: (token: Token) => ReactNode): ReactNode[] {
  return (tokens ?? []).map((token, index) => createElement(Part, { key: index, draw, token }));
}

function Part({ draw, token }: { draw: (token: Token) => ReactNode; token: Token }) {
  return draw(token);
}

function block(token: Token, depth: number, live = false): ReactNode {
  const any = token as Any;
  if (depth > DEEPEST) return <p className="as-is">{any.raw}</p>;
  const within = () => each(any.tokens, (inner) => block(inner, depth + 1, live));
  const text = () => inlines(any.tokens, depth);
  const dir = depth === 0 ? "auto" : undefined; // what is within goes as the whole of it does
  switch (any.type) {
    case "space":
    case "def":
      return null;
    case "paragraph":
      return <p dir={dir}>{text()}</p>;
    case "text": // in a list item without blank lines
      return any.tokens ? text() : resolved(any.text);
    case "heading":
      return createElement(`h${Math.min(6, any.depth + 1)}`, { dir, "data-depth": any.depth }, text());
    case "code":
      return <Code text={any.text} lang={any.lang} live={live} />;
    case "blockquote":
      return <blockquote dir={dir}>{within()}</blockquote>;
    case "list":
      return list(any, depth, live, dir);
    case "table":
      return table(any, depth);
    case "hr":
      return <hr />;
    case "math":
      return <Formula text={any.text} display={any.display} />;
    case "html":
    case "plain":
      return (
        <p className="as-is" dir={dir}>
          {any.raw.replace(/\n+$/, "")}
        </p>
      );
    default:
      return inline(token, depth);
  }
}

function list(any: Any, depth: number, live: boolean, dir?: string): ReactNode {
  const items = each(any.items, (item) => {
    const { task, checked, tokens } = item as Any;
    const inside = task ? (tokens ?? []).filter(({ type }: Token) => type !== "checkbox") : tokens;
    return (
      <li className={task ? "task" : undefined}>
        {task && <input type="checkbox" checked={checked} disabled aria-label={checked ? "Done" : "To do"} />}
        {each(inside, (inner) => block(inner, depth + 1, live))}
      </li>
    );
  });
  return any.ordered ? (
    <ol dir={dir} start={any.start === 1 || any.start === "" ? undefined : any.start}>
      {items}
    </ol>
  ) : (
    <ul dir={dir}>{items}</ul>
  );
}

interface Cell {
  tokens: Token[];
  align: "center" | "left" | "right" | null;
}

function table(any: Any, depth: number): ReactNode {
  const cells = (row: Cell[], kind: "th" | "td") =>
    row.map((cell, index) =>
      createElement(
        kind,
        { key: index, dir: "auto", "data-align": cell.align ?? undefined },
        inlines(cell.tokens, depth),
      ),
    );
  return (
    <div className="wide" role="region" aria-label="Table" tabIndex={0}>
      <table>
        <thead>
          <tr>{cells(any.header, "th")}</tr>
        </thead>
        <tbody>
          {any.rows.map((row: Cell[], index: number) => (
            <tr key={index}>{cells(row, "td")}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const inlines = (tokens: Token[] | undefined, depth: number) =>
  each(tokens, (token) => inline(token, depth + 1));

function inline(token: Token, depth: number): ReactNode {
  const any = token as Any;
  if (depth > DEEPEST) return any.raw;
  const within = () => inlines(any.tokens, depth);
  switch (any.type) {
    case "strong":
      return <strong>{within()}</strong>;
    case "em":
      return <em>{within()}</em>;
    case "del":
      return <del>{within()}</del>;
    case "codespan":
      return <code dir="ltr">{any.text}</code>;
    case "br":
      return <br />;
    case "escape":
      return any.text;
    case "text":
      return any.tokens ? within() : resolved(any.text);
    case "link":
      return link(any, within());
    case "image": // nothing is loaded from elsewhere; whoever wants to see it follows the link
      return link(any, <>🖼 {any.text || "image"}</>);
    case "math":
      return <Formula text={any.text} display={any.display} />;
    case "checkbox":
      return null;
    default:
      return any.raw;
  }
}

function link(any: Any, label: ReactNode): ReactNode {
  const address = safeAddress(any.autolink ? any.href : resolved(any.href));
  if (address === null) return any.raw;
  return (
    <a href={address} title={any.title ? resolved(any.title) : undefined} target="_blank" rel="noopener noreferrer">
      {label}
    </a>
  );
}
