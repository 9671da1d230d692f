// Colours for code, without knowing any language well: comments, strings, numbers and the words that many share.

import { h } from "../dom.js";

const KEYWORDS = new Set(
  ("abstract and as assert async await begin bool boolean break case catch char class const continue crate def default defer del do done double elif else elseif end enum " +
    "esac except export extends extern false fi final finally float fn for foreach from func function global go goto if impl implements import in include inline int " +
    "interface is lambda let local long loop match mod module mut namespace new nil none None not null nullptr of or package pass private proc protected pub public raise " +
    "range ref return self short static string struct super switch then this throw throws trait true True False try type typedef typename typeof undefined union unless " +
    "unsafe unsigned use using val var virtual void when where while with yield " +
    "SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE CREATE TABLE JOIN LEFT RIGHT INNER OUTER ON GROUP ORDER BY LIMIT AND OR NOT NULL AS DISTINCT HAVING PRIMARY KEY " +
    "select where insert update delete create table join left right inner outer group order limit distinct having").split(" "),
);

const HASH = "py python sh bash shell zsh console yaml yml toml ruby rb r perl make makefile dockerfile ini conf nix elixir julia gdscript";
const DASHES = "sql lua haskell hs ada elm vhdl";
const MARKUP = "html xml svg vue";
const SLASHES =
  "js javascript jsx mjs ts typescript tsx c h cpp c++ cc hpp cs csharp java kotlin kt go golang rust rs swift scala php dart zig css scss less json jsonc json5 cuda glsl hlsl proto groovy objc";

const STRING = String.raw`"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'|` + "`(?:\\\\.|[^`\\\\])*`";
const COMMON = String.raw`|(?<string>${STRING})|(?<number>\b(?:0x[\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:e[+-]?\d+)?))|(?<word>[A-Za-z_]\w*)`;
const COMMENTS = [
  [HASH, String.raw`(?<comment>"""[^]*?"""|'''[^]*?'''|(?<![\w$\\])#[^\n]*)`],
  [DASHES, String.raw`(?<comment>--[^\n]*|\/\*[^]*?(?:\*\/|$))`],
  [MARKUP, String.raw`(?<comment><!--[^]*?(?:-->|$))`],
  [SLASHES, String.raw`(?<comment>\/\/[^\n]*|\/\*[^]*?(?:\*\/|$))`],
];
const PATTERNS = new Map(
  COMMENTS.flatMap(([languages, comment]) => languages.split(" ").map((name) => [name, new RegExp(comment + COMMON, "g")])),
);

/** Nodes for `text`; as it is where the language is not known. */
export function highlight(text, language) {
  const pattern = PATTERNS.get(language.toLowerCase());
  if (!pattern) return [text];
  const nodes = [];
  let plain = 0;
  for (const match of text.matchAll(pattern)) {
    const kind = kindOf(match.groups);
    if (!kind) continue;
    nodes.push(text.slice(plain, match.index), h("span", { className: `code-${kind}` }, match[0]));
    plain = match.index + match[0].length;
  }
  return [...nodes, text.slice(plain)];
}

function kindOf({ comment, string, number, word }) {
  if (comment !== undefined) return "comment";
  if (string !== undefined) return "string";
  if (number !== undefined) return "number";
  return KEYWORDS.has(word) ? "keyword" : null;
}
