import { useState, type ComponentType } from "react";
import { Dialog } from "./Dialog.tsx";
import { useLazy } from "./markdown/lazily.ts";

/** A dialog whose code is fetched when it is first opened; so what few use costs the others
 * nothing. */
export function later<P extends { onClose: () => void }>(
  load: () => Promise<{ default: ComponentType<P> }>,
): ComponentType<P> {
  return function Later(props: P) {
    const [failed, setFailed] = useState(false);
    const module = useLazy(load, () => setFailed(true));
    if (module) return <module.default {...props} />;
    if (!failed) return null;
    return (
      <Dialog title="This can’t be shown now" onClose={props.onClose}>
        <p>This part of the page could not be loaded. Try again when there is a connection, or reload the page.</p>
      </Dialog>
    );
  };
}
