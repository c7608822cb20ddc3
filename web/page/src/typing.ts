/** Enter that is meant to send: not with Shift, and not while an input method composes. */
export function isEnter(event: KeyboardEvent): boolean {
  // Safari ends a composition before the Enter that confirmed it, and tells by 229 only.
  const composing = event.isComposing || event.keyCode === 229;
  return event.key === "Enter" && !event.shiftKey && !composing;
}

/** As high as its text, where the browser doesn't do so itself (field-sizing in the style sheet). */
export function fit(box: HTMLTextAreaElement | null) {
  if (!box || CSS.supports("field-sizing", "content")) return;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}
