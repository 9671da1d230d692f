// Formulas in a text: \(…\) and $…$ in a line, \[…\], $$…$$ and environments on lines of their own. Half a formula, as
// it comes while an answer streams, is shown as it was written.

import { asWritten, formula } from "./mathml.js";

const BRACKETED = /^\\\(([^]*?\S[^]*?)\\\)|^\\\[([^]*?\S[^]*?)\\\]|^(\\begin\{([a-zA-Z]+\*?)\}[^]*?\\end\{\4\})/;
const OPENED = /^\\(?:\(|\[|begin\{[a-zA-Z*]*(?:\}|$))/;
const DOLLARS = /^\$\$([^]*?[^\s$][^]*?)\$\$/;
const DOLLAR = /^\$(?!\s)((?:\\[^\n]|[^$\\\n])+)(?<!\s)\$(?:(?!\w)|(?=(?:th|st|nd|rd|s)\b))/;
const PRICE = /^\d[\d.,]*[kKmMbB]?\s+\(?[A-Za-z]{2,}/; // "$5 and 10$"

/** Reads at a backslash: `[node, the place after it]`, or null. */
export function readBracketed(text, at) {
  const rest = text.slice(at);
  const found = BRACKETED.exec(rest);
  if (!found) return OPENED.test(rest) ? [asWritten(rest), text.length] : null;
  const [whole, inLine, onLines, environment] = found;
  return [formula(inLine ?? onLines ?? environment, whole, inLine === undefined), at + whole.length];
}

/** Reads at a dollar, likewise. Single ones are a formula's if no space is inside them and no word touches them. */
export function readDollars(text, at) {
  const rest = text.slice(at);
  const double = DOLLARS.exec(rest);
  if (double) return [formula(double[1], double[0], true), at + double[0].length];
  if (rest.startsWith("$$")) return /(?:^|\n)$/.test(text.slice(0, at)) ? [asWritten(rest), text.length] : ["$$", at + 2];
  const single = DOLLAR.exec(rest);
  if (!single || PRICE.test(single[1]) || /\w/.test(text[at - 1] ?? "")) return null;
  return [formula(single[1], single[0], false), at + single[0].length];
}

const OPENING = /^\s*(?:(\$\$)|(\\\[)|\\begin\{([a-zA-Z]+\*?)\})/;

/** The line after `at`, or after the formula that begins there: what is in it is no list and no heading. */
export function lineAfter(lines, at) {
  const opened = OPENING.exec(lines[at]);
  if (!opened) return at + 1;
  const [mark, dollars, bracket, environment] = opened;
  const closing = dollars ?? (bracket ? "\\]" : `\\end{${environment}}`);
  if (lines[at].includes(closing, mark.length)) return at + 1;
  const length = lines.slice(at + 1).findIndex((line) => line.includes(closing) || line.trim() === "");
  if (length < 0) return lines.length;
  const last = at + 1 + length;
  return lines[last].includes(closing) ? last + 1 : last;
}
