// Light, dark, or what the system prefers. early.js applies the choice before the first paint.

const KEY = "llmrt.theme"; // plain text, as early.js reads it
const CHOICES = ["auto", "light", "dark"];
const LABELS = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
export const THEME_ICONS = { auto: "auto", light: "sun", dark: "moon" };

export function theme() {
  return document.documentElement.dataset.theme ?? "auto";
}

export function themeLabel() {
  return `${LABELS[theme()]}. Change it`;
}

/** Go on to the next of auto, light and dark. */
export function nextTheme() {
  const next = CHOICES[(CHOICES.indexOf(theme()) + 1) % CHOICES.length];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Storage is blocked: it lasts as long as the page.
  }
}
