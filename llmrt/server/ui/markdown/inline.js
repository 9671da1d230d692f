// What stands inside a paragraph: code, emphasis, links, formulas. Text that means nothing special stays as it is.

import { h } from "../dom.js";
import { readBracketed, readDollars } from "./formula.js";

const SAFE = /^(https?:|mailto:)/i;
const DEEPEST = 8;
const SPECIAL = /[\\`*_~[!<$]|https?:\/\//g;

/** Each reads at `at`, where its character stands, and gives `[node, the place after it]`, or null. */
const READERS = {
  "\\": readEscape,
  "`": readCode,
  "*": readEmphasis,
  _: readEmphasis,
  "~": readStrike,
  "[": readLink,
  "!": readImage,
  "<": readAutolink,
  $: readDollars,
  h: readAddress,
};

/** The nodes of `text`. */
export function inline(text, depth = 0) {
  const nodes = [];
  let plain = 0;
  const flush = (end) => nodes.push(...withBreaks(text.slice(plain, end)));
  SPECIAL.lastIndex = 0;
  for (let match = SPECIAL.exec(text); match; match = SPECIAL.exec(text)) {
    const found = depth < DEEPEST ? READERS[match[0][0]](text, match.index, depth) : null;
    if (!found) continue;
    const resume = found[1];
    flush(match.index);
    nodes.push(found[0]);
    plain = resume;
    SPECIAL.lastIndex = resume;
  }
  flush(text.length);
  return nodes;
}

/** Line breaks are kept: models mean them. */
function withBreaks(text) {
  const lines = text.split("\n");
  return lines.flatMap((line, number) => (number ? [h("br"), line.trimStart()] : [line])).filter((node) => node !== "");
}

function readEscape(text, at) {
  const formula = readBracketed(text, at);
  if (formula) return formula;
  return /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "") ? [text[at + 1], at + 2] : null;
}

function readCode(text, at) {
  const [marks] = /^`+/.exec(text.slice(at));
  for (let end = text.indexOf(marks, at + marks.length); end >= 0; end = text.indexOf(marks, end + 1)) {
    if (text[end - 1] === "`" || text[end + marks.length] === "`") continue;
    const code = text.slice(at + marks.length, end).replaceAll("\n", " ");
    const padded = /^ .*[^ ].* $/.test(code);
    return [h("code", {}, padded ? code.slice(1, -1) : code), end + marks.length];
  }
  return [marks, at + marks.length];
}

function readEmphasis(text, at, depth) {
  const mark = text[at];
  const run = /^(\*+|_+)/.exec(text.slice(at))[0].length;
  if (mark === "_" && /\w/.test(text[at - 1] ?? "")) return [text.slice(at, at + run), at + run]; // snake_case
  for (let size = Math.min(run, 3); size > 0; size -= 1) {
    const end = closingMark(text, at + size, mark.repeat(size));
    if (end < 0) continue;
    const inner = inline(text.slice(at + size, end), depth + 1);
    const node = size === 1 ? h("em", {}, inner) : h("strong", {}, size === 3 ? h("em", {}, inner) : inner);
    return [node, end + size];
  }
  return [text.slice(at, at + run), at + run];
}

/** Where `marks` close what begins at `start`: behind a character that is no space, and not part of a longer run. */
function closingMark(text, start, marks) {
  if (/\s|^$/.test(text[start] ?? "")) return -1;
  for (let end = text.indexOf(marks, start + 1); end >= 0; end = text.indexOf(marks, end + 1)) {
    const run = /^(\*+|_+|~+)/.exec(text.slice(end))[0].length;
    const insideWord = marks[0] === "_" && /\w/.test(text[end + run] ?? "");
    const closes = !/\s/.test(text[end - 1]) && !insideWord && text[end - 1] !== "\\";
    if (closes && run === marks.length) return end;
    if (closes && run > marks.length && run !== 2) return end + run - marks.length;
    end += run - 1;
  }
  return -1;
}

function readStrike(text, at, depth) {
  if (!text.startsWith("~~", at)) return null;
  const end = closingMark(text, at + 2, "~~");
  return end < 0 ? ["~~", at + 2] : [h("del", {}, inline(text.slice(at + 2, end), depth + 1)), end + 2];
}

const LABEL = /^\[((?:\\.|[^[\]\\]|\[[^[\]]*\])*)\]\(\s*<?((?:[^\s()<>]|\([^\s()]*\))*)>?(?:\s+["'(][^"')]*["')])?\s*\)/;

function readLink(text, at, depth) {
  const match = LABEL.exec(text.slice(at));
  return match && [link(match[2], inline(match[1], depth + 1)), at + match[0].length];
}

/** An image is a link to it: this page asks nobody but its own server. */
function readImage(text, at) {
  const match = text[at + 1] === "[" && LABEL.exec(text.slice(at + 1));
  return match ? [link(match[2], [match[1] || match[2]]), at + 1 + match[0].length] : null;
}

function readAutolink(text, at) {
  const match = /^<((?:https?:\/\/|mailto:)[^\s<>]+)>/i.exec(text.slice(at));
  return match && [link(match[1], [match[1]]), at + match[0].length];
}

function readAddress(text, at) {
  const [found] = /^https?:\/\/[^\s<>"'`*]*/.exec(text.slice(at));
  let address = found.replace(/[.,:;!?]+$/, "");
  if (address.endsWith(")") && !address.includes("(")) address = address.slice(0, -1);
  return [link(address, [address]), at + address.length];
}

/** Only addresses that a browser merely opens: no javascript:, no data:. */
function link(address, children) {
  if (!SAFE.test(address)) return h("span", {}, children);
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow", title: address }, children);
}
