const SAFE = new Set(["http:", "https:", "mailto:"]);

/** The address of a link that may be followed; null for any other, which is shown as text. */
export function safeAddress(href: string): string | null {
  try {
    const url = new URL(href);
    return SAFE.has(url.protocol) ? url.href : null;
  } catch {
    return null; // relative ones too: they would lead into this page
  }
}
