// The messages of one conversation.

import { copyButton, h, icon, iconButton } from "./dom.js";
import { renderMarkdown } from "./markdown/render.js";
import { path, versions } from "./tree.js";

const NEAR = 80; // pixels from the end within which the view follows an answer

/**
 * `actions` is what a person can do with a message: `regenerate`, `proceed`, `edit`, `choose`, and what errors offer,
 * `again`, `key`, `settings` and `fresh`, each called with the message.
 */
export class Thread {
  constructor({ element, scroller, jump, actions }) {
    this._element = element;
    this._scroller = scroller;
    this._jump = jump;
    this._actions = actions;
    this._frame = 0;
    this._changed = new Set();
    this._following = true;
    jump.append(icon("down"));
    jump.addEventListener("click", () => this.follow());
    scroller.addEventListener("scroll", () => this._onScroll(), { passive: true });
    const observer = new ResizeObserver(() => this._following && this._toEnd());
    for (const resized of [scroller, element]) observer.observe(resized); // messages have their height when they come in sight
  }

  /** Show a conversation from its end. */
  show(conversation) {
    this._conversation = conversation;
    this._element.replaceChildren(...path(conversation).map((node) => this._article(node)));
    this.follow();
  }

  /** Show what `node` has become, at the next frame. */
  update(node) {
    this._changed.add(node);
    this._frame ||= requestAnimationFrame(() => this._draw());
  }

  /** Go to the end and stay there. */
  follow() {
    this._following = true;
    this._toEnd();
  }

  /** Write over a message. */
  edit(node) {
    const article = this._articleOf(node);
    if (!article) return;
    const area = h("textarea", { className: "editor", dir: "auto", value: node.content, "aria-label": "Edit the message" });
    const finish = (text) => {
      article.replaceWith(this._article(node));
      if (text !== null && text.trim() && text !== node.content) this._actions.edit(node, text);
    };
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") finish(null);
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) finish(area.value);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    const label = node.role === "user" ? "Send" : "Save";
    const buttons = h(
      "div",
      { className: "editor-row" },
      h("button", { type: "button", className: "quiet-button", onclick: () => finish(null) }, "Cancel"),
      h("button", { type: "button", className: "solid-button", onclick: () => finish(area.value) }, label),
    );
    article.classList.add("editing");
    article.replaceChildren(area, buttons);
    area.style.height = `${area.scrollHeight + 2}px`;
    area.focus();
  }

  _draw() {
    this._frame = 0;
    const shown = [...this._changed].map((node) => [this._articleOf(node), node]).filter(([article]) => article);
    this._changed.clear();
    if (shown.length === 0) return; // another conversation is shown, or another version
    for (const [article, node] of shown) this._fill(article, node);
    if (this._following) this._toEnd();
    else this._onScroll();
  }

  _articleOf(node) {
    return this._element.querySelector(`[data-id="${node.id}"]`);
  }

  _article(node) {
    const who = node.role === "user" ? "You" : "Model";
    const parts = ["reasoning", "body", "error", "foot"].map((name) => h("div", { className: name, hidden: true }));
    const article = h("article", { className: `message ${node.role}`, dataset: { id: node.id } }, h("h2", { className: "hidden" }, who), parts);
    this._fill(article, node);
    return article;
  }

  _fill(article, node) {
    const [reasoning, body, error, foot] = [...article.children].slice(1);
    const busy = node.status === "waiting" || node.status === "streaming";
    article.classList.toggle("busy", busy);
    article.setAttribute("aria-busy", String(busy));
    fillReasoning(reasoning, node);
    body.hidden = !node.content && node.status !== "waiting";
    if (node.role === "user") body.textContent = node.content;
    else if (node.content) renderMarkdown(body, node.content);
    else if (node.status === "waiting") body.replaceChildren(waiting());
    error.hidden = !node.error;
    if (node.error) error.replaceChildren(...this._errorParts(node));
    foot.hidden = busy;
    if (!busy) foot.replaceChildren(...this._footParts(node));
  }

  _errorParts(node) {
    const { title, advice, message, actions } = node.error;
    const labels = { again: "Try again", key: "Enter the key", settings: "Open the settings", new: "New conversation" };
    const calls = { ...this._actions, new: this._actions.fresh };
    return [
      icon("alert"),
      h(
        "div",
        { role: "alert" },
        h("strong", {}, title),
        h("p", {}, message),
        h("p", { className: "advice" }, advice),
        h("div", { className: "error-row" }, actions.map((name) => h("button", { type: "button", className: "quiet-button", onclick: () => calls[name](node) }, labels[name]))),
      ),
    ];
  }

  _footParts(node) {
    const parts = [this._versionParts(node), h("span", { className: "actions" }, this._actionButtons(node))];
    if (node.role === "assistant") parts.push(h("span", { className: "stats" }, statsParts(node)));
    return parts.filter(Boolean);
  }

  _actionButtons(node) {
    const copy = node.content && copyButton("Copy the message", () => node.content);
    const edit = node.content && iconButton("edit", "Edit the message", () => this.edit(node));
    if (node.role === "user") return [copy, edit];
    const again = iconButton("again", "Answer again", () => this._actions.regenerate(node));
    const cut = node.content && (node.finish === "length" || node.status === "stopped" || node.status === "failed");
    return [copy, again, edit, cut && iconButton("more", "Go on with this answer", () => this._actions.proceed(node))];
  }

  _versionParts(node) {
    const all = versions(this._conversation, node);
    if (all.length < 2) return null;
    const at = all.indexOf(node);
    const go = (step) => this._actions.choose(all[at + step]);
    return h(
      "span",
      { className: "versions" },
      iconButton("left", "The version before", () => go(-1), { disabled: at === 0 }),
      h("span", { "aria-label": `Version ${at + 1} of ${all.length}` }, `${at + 1}/${all.length}`),
      iconButton("right", "The next version", () => go(1), { disabled: at === all.length - 1 }),
    );
  }

  _onScroll() {
    const { scrollHeight, scrollTop, clientHeight } = this._scroller;
    this._following = scrollHeight - scrollTop - clientHeight < NEAR;
    this._jump.hidden = this._following;
  }

  _toEnd() {
    this._scroller.scrollTop = this._scroller.scrollHeight;
    this._jump.hidden = true;
  }
}

function fillReasoning(element, node) {
  element.hidden = !node.reasoning;
  if (!node.reasoning) return;
  if (!element.firstChild) element.append(h("details", {}, h("summary", {}), h("div", { className: "thought" })));
  const [summary, thought] = element.firstChild.children;
  summary.textContent = node.content || node.status === "done" ? "Thoughts" : "Thinking…";
  renderMarkdown(thought, node.reasoning);
}

function waiting() {
  return h("span", { className: "waiting" }, h("i"), h("i"), h("i"), h("span", { className: "hidden" }, "Reading the prompt"));
}

/** The measured figures of an answer, and why it ended if not by itself. */
function statsParts({ stats, finish, status, notes = [] }) {
  const ending = status === "stopped" ? "stopped" : finish === "length" ? "cut at its length limit" : null;
  const endings = [ending, ...notes].filter(Boolean).map((text) => h("span", { className: "ending" }, text));
  if (!stats) return endings;
  const cached = stats.cached ? `, ${count(stats.cached)} of them cached` : "";
  const prompt = stats.prompt === null ? "" : `Prompt: ${count(stats.prompt)} tokens${cached}. `;
  const figures = [
    `${stats.continued ? "continued by " : ""}${stats.exact ? "" : "about "}${count(stats.tokens)} ${stats.tokens === 1 ? "token" : "tokens"}`,
    stats.rate !== null && `${decimals(stats.rate)} tok/s`,
    `first after ${decimals(stats.firstToken)} s`,
  ];
  const title = `${prompt}Times are measured in this browser.`;
  return [...endings, ...figures.filter(Boolean).map((text) => h("span", { title }, text))];
}

export function count(number) {
  return number.toLocaleString("en");
}

function decimals(number) {
  return number >= 100 ? number.toFixed(0) : number >= 10 ? number.toFixed(1) : number.toFixed(2);
}
