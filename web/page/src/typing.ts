/** Enter that is meant to send: not with Shift, and not while an input method composes. */
export function isEnter(event: KeyboardEvent): boolean {
  return event.key === "Enter" && !event.shiftKey && !isComposing(event);
}

/** Escape that is not an input method's. Who takes it prevents its default: else it stops the answer. */
export function isEscape(event: KeyboardEvent): boolean {
  return event.key === "Escape" && !event.defaultPrevented && !isComposing(event);
}

// Safari ends a composition before the key that did so, and tells by 229 only.
const isComposing = (event: KeyboardEvent) => event.isComposing || event.keyCode === 229;

/** How many characters too many; 0 as `maxChars`: no limit. */
export function excess(text: string, maxChars: number): number {
  return maxChars > 0 && text.length > maxChars ? Math.max(0, [...text].length - maxChars) : 0;
}

/** As high as its text, where the browser doesn't do so itself (field-sizing in the style sheet). */
export function fit(box: HTMLTextAreaElement | null) {
  if (!box || CSS.supports("field-sizing", "content")) return;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}
