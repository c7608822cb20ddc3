/** Back to the box, when what had the focus is gone. Not on a phone, where it would call up the
 * keyboard. */
export function focusBox() {
  if (matchMedia("(pointer: fine)").matches) {
    requestAnimationFrame(() => document.getElementById("message")?.focus());
  }
}
