/** Back to the box, when what had the focus is gone. Not on a phone, where it would call up the
 * keyboard. */
export function focusBox() {
  if (matchMedia("(pointer: fine)").matches) {
    requestAnimationFrame(() => document.getElementById("message")?.focus());
  }
}

/** Into the list of chats, which lies over the chat on a narrow screen. */
export function focusMenu() {
  document.querySelector<HTMLElement>(".side .new")?.focus();
}

/** Back to what opened it, unless something else has the focus by then. */
export function leaveMenu() {
  requestAnimationFrame(() => {
    const { activeElement } = document;
    if (activeElement === document.body || activeElement?.closest(".side")) {
      document.getElementById("menu")?.focus();
    }
  });
}
