// Formulas: TeX to MathML, which browsers draw by themselves. Temml reads the TeX; nothing in it may name an address.

import { h } from "../dom.js";

const { temml } = globalThis; // vendor/temml.min.js, npm's temml 0.13.5
const LIMITS = { trust: false, maxSize: [40, 400], maxExpand: 1000 }; // em and pt
const KEPT = 500; // drawn formulas: while a paragraph grows, those in it are shown again and again
const drawn = new Map();

/** The formula `tex`, written as `source` with the marks around it, which is what copying it gives. */
export function formula(tex, source, display) {
  const math = draw(tex, display);
  if (!math) return asWritten(source);
  return h("span", { className: display ? "formula display" : "formula" }, math, h("span", { className: "source", "aria-hidden": "true" }, source));
}

/** What is no formula yet, or none that can be read. */
export function asWritten(source) {
  return h("code", { className: "tex" }, source);
}

function draw(tex, display) {
  const key = `${display} ${tex}`;
  if (!drawn.has(key)) {
    if (drawn.size === KEPT) drawn.clear();
    drawn.set(key, read(tex, display));
  }
  return drawn.get(key)?.cloneNode(true);
}

function read(tex, display) {
  const element = h("span");
  try {
    temml.render(tex, element, { ...LIMITS, displayMode: display, throwOnError: true, wrap: "tex" });
  } catch {
    return null;
  }
  return element.firstChild;
}
