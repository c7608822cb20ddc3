import type { ComponentProps } from "react";
import { addressOf, go } from "./address.ts";

interface Props extends Omit<ComponentProps<"a">, "href" | "onClick"> {
  /** The conversation's id; null: a new one. */
  to: string | null;
  /** A message in it. */
  message?: string | null;
  /** Called first, where it is followed here and not into another tab. */
  onFollow?: () => void;
}

/**
 * Leads to a place in the page. Within the click: the browser would tell of the new address later,
 * and what is typed until then would be said in the conversation that was left.
 */
export function Link({ to, message = null, onFollow, ...rest }: Props) {
  return (
    <a
      {...rest}
      href={addressOf(to, message)}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        onFollow?.();
        go(to, { message });
      }}
    />
  );
}
