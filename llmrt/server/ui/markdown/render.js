// Markdown to DOM nodes. While an answer grows, only the blocks that changed are built anew, so that a selection or a
// copy button further up stays. Each block runs in the direction of its own words, code from left to right.

import { copyButton, h } from "../dom.js";
import { parseBlocks } from "./blocks.js";
import { highlight } from "./highlight.js";
import { inline } from "./inline.js";

const sources = new WeakMap(); // an element's block, as it was written

/** Make the children of `container` show `text`. */
export function renderMarkdown(container, text) {
  const blocks = parseBlocks(text);
  blocks.forEach((block, number) => {
    const old = container.children[number];
    if (old && sources.get(old) === block.raw) return;
    const element = render(block);
    sources.set(element, block.raw);
    if (old) old.replaceWith(element);
    else container.append(element);
  });
  while (container.children.length > blocks.length) container.lastElementChild.remove();
}

function render(block) {
  switch (block.type) {
    case "heading":
      return h(`h${Math.min(6, block.level + 1)}`, { dir: "auto" }, inline(block.text)); // h1 is the page's own
    case "code":
      return code(block);
    case "rule":
      return h("hr");
    case "quote":
      return h("blockquote", {}, block.blocks.map(render));
    case "list":
      return list(block);
    case "table":
      return table(block);
    default:
      return h("p", { dir: "auto" }, inline(block.text));
  }
}

function code({ language, text }) {
  const label = language ? `Copy the ${language} code` : "Copy the code";
  return h(
    "figure",
    { className: "code", dir: "ltr" },
    h("figcaption", {}, h("span", {}, language || "text"), copyButton(label, () => text)),
    h("pre", { tabIndex: 0 }, h("code", {}, highlight(text, language))),
  );
}

function list({ ordered, start, items }) {
  const element = h(ordered ? "ol" : "ul", { dir: "auto" }, items.map(item));
  if (ordered && start !== 1) element.start = start;
  return element;
}

/** The one paragraph of a short item needs no space around it. */
function item({ task, blocks }) {
  const content = blocks.map((block, number) => (number === 0 && block.type === "paragraph" ? h("span", {}, inline(block.text)) : render(block)));
  if (task === null) return h("li", {}, content);
  return h("li", { className: "task" }, h("input", { type: "checkbox", checked: task, disabled: true, "aria-label": task ? "Done" : "To do" }), content);
}

function table({ header, aligns, rows }) {
  const row = (tag, values) => h("tr", {}, values.map((value, column) => h(tag, { className: aligns[column] ?? "left" }, inline(value))));
  return h(
    "div",
    { className: "table", tabIndex: 0, role: "region", "aria-label": "Table" },
    h("table", { dir: "auto" }, h("thead", {}, row("th", header)), h("tbody", {}, rows.map((values) => row("td", values)))),
  );
}
