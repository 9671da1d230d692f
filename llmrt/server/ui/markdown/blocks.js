// Markdown's blocks, as models write them: a forgiving part of CommonMark with tables and task lists.
// HTML is text like any other. Each block has the source it was read from as `raw`.

import { lineAfter } from "./formula.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:[ \t]+|$)/;
const TASK = /^\[([ xX])\][ \t]+/;
const DIVIDER = /^ *\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const BLANK = /^[ \t]*$/;
const DEEPEST = 12; // lists and quotes inside each other; deeper ones are text

/** The blocks of `text`. */
export function parseBlocks(text, depth = 0) {
  const lines = text.replaceAll("\t", "    ").split("\n");
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (BLANK.test(lines[at])) {
      at += 1;
      continue;
    }
    const [block, end] = readBlock(lines, at, depth);
    blocks.push({ ...block, raw: lines.slice(at, end).join("\n") });
    at = end;
  }
  return blocks;
}

/** `[block, the line after it]`. */
function readBlock(lines, at, depth) {
  const line = lines[at];
  const heading = HEADING.exec(line);
  if (FENCE.test(line)) return readFence(lines, at);
  if (heading) return [{ type: "heading", level: heading[1].length, text: heading[2] }, at + 1];
  if (RULE.test(line)) return [{ type: "rule" }, at + 1];
  if (depth < DEEPEST && QUOTE.test(line)) return readQuote(lines, at, depth);
  if (depth < DEEPEST && ITEM.test(line)) return readList(lines, at, depth);
  if (isTable(lines, at)) return readTable(lines, at);
  return readParagraph(lines, at, depth);
}

/** A fence that is not closed yet goes to the end: while an answer streams, that is the usual case. */
function readFence(lines, at) {
  const [, marks, info] = FENCE.exec(lines[at]);
  const indent = lines[at].search(/\S/);
  const closing = new RegExp(`^ {0,3}${marks[0]}{${marks.length},}[ \t]*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end += 1;
  const body = lines.slice(at + 1, end).map((line) => line.slice(Math.min(indent, Math.max(0, line.search(/\S|$/)))));
  return [{ type: "code", language: info.trim().split(/\s/, 1)[0], text: body.join("\n") }, Math.min(end + 1, lines.length)];
}

function readQuote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return [{ type: "quote", blocks: parseBlocks(inner.join("\n"), depth + 1) }, end];
}

/** What is indented by two or more than its marker belongs to an item: models rarely indent as far as they should. */
function readList(lines, at, depth) {
  const [, indent, marker] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(marker);
  const block = { type: "list", ordered, start: ordered ? parseInt(marker, 10) : 1, items: [] };
  let end = at;
  while (end < lines.length) {
    const item = ITEM.exec(lines[end]);
    if (!item || item[1].length > indent.length + 1 || /\d/.test(item[2]) !== ordered || RULE.test(lines[end])) break;
    const last = endOfItem(lines, end, item[1].length);
    block.items.push(readItem(lines.slice(end, last), item, depth));
    end = last;
    const next = skipBlank(lines, end);
    if (next < lines.length && ITEM.test(lines[next])) end = next;
  }
  return [block, end];
}

function endOfItem(lines, at, indent) {
  let end = at + 1;
  while (end < lines.length) {
    const next = skipBlank(lines, end);
    if (next === lines.length) break;
    const inside = lines[next].search(/\S/) >= indent + 2;
    const lazy = next === end && !startsBlock(lines, next);
    if (!inside && !lazy) break;
    end = next + 1;
  }
  return end;
}

function readItem(lines, [marker], depth) {
  const first = lines[0].slice(marker.length);
  const task = TASK.exec(first);
  const indent = Math.min(marker.length, ...lines.slice(1).filter((line) => !BLANK.test(line)).map((line) => line.search(/\S/)));
  const rest = lines.slice(1).map((line) => line.slice(indent));
  const text = [task ? first.slice(task[0].length) : first, ...rest].join("\n");
  return { task: task ? task[1] !== " " : null, blocks: parseBlocks(text, depth + 1) };
}

function isTable(lines, at) {
  return lines[at].includes("|") && at + 1 < lines.length && lines[at + 1].includes("-") && DIVIDER.test(lines[at + 1]) && cells(lines[at]).length === cells(lines[at + 1]).length;
}

function readTable(lines, at) {
  const header = cells(lines[at]);
  const aligns = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : "left"));
  const rows = [];
  let end = at + 2;
  for (; end < lines.length && lines[end].includes("|") && !BLANK.test(lines[end]); end += 1) {
    const row = cells(lines[end]);
    rows.push(header.map((_, column) => row[column] ?? ""));
  }
  return [{ type: "table", header, aligns, rows }, end];
}

/** The cells of a row; a bar behind a backslash is text. */
function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function readParagraph(lines, at, depth) {
  let end = lineAfter(lines, at);
  while (end < lines.length && !BLANK.test(lines[end]) && (depth >= DEEPEST || !startsBlock(lines, end))) end = lineAfter(lines, end);
  return [{ type: "paragraph", text: lines.slice(at, end).map((line) => line.trimStart()).join("\n").trimEnd() }, end];
}

/** Whether a line ends the paragraph before it. */
function startsBlock(lines, at) {
  const line = lines[at];
  return [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line)) || isTable(lines, at);
}

function skipBlank(lines, at) {
  while (at < lines.length && BLANK.test(lines[at])) at += 1;
  return at;
}
