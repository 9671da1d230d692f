// The page: puts the parts together, and keeps what they show in step with what is stored.

import { ApiError, fetchModels } from "./api.js";
import { fillAnswer } from "./answering.js";
import { Composer } from "./composer.js";
import { byId, h, icon } from "./dom.js";
import { Settings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { ConversationStore, preference, setPreference } from "./store.js";
import { nextTheme, theme, themeLabel, THEME_ICONS } from "./theme.js";
import { Thread, count } from "./thread.js";
import { addNode, choose, newConversation, parentOf, path, titleOf } from "./tree.js";

const SUGGESTIONS = [
  "Explain how a refrigerator works, in five sentences.",
  "Write a Python function that finds the longest word in a text.",
  "Plan a vegetarian dinner for four, with a shopping list.",
];
const NO_FILES = "Pictures and files are not sent: the models here read text. Paste the text itself.";
const RETRY_SECONDS = 3;
const SAVE_SECONDS = 2;

class App {
  constructor(store) {
    this._store = store;
    this._models = [];
    this._conversations = [];
    this._current = newConversation(preference("sampling", {}));
    this._running = new Map(); // by a conversation's id: what stops its answer, and when that has ended
    this._thread = new Thread({ element: byId("thread"), scroller: byId("scroller"), jump: byId("jump"), actions: this._messageActions() });
    this._composer = new Composer({ onsend: (text) => this._say(text), onstop: () => this._stop(), onrecall: () => this._editLast(), onfiles: () => this._toast(NO_FILES) });
    this._sidebar = new Sidebar({
      onopen: (conversation) => this._open(conversation),
      onnew: () => this._new(),
      onrename: (conversation, title) => this._rename(conversation, title),
      onremove: (conversation) => this._remove(conversation),
    });
    this._settings = new Settings({
      onchange: (conversation) => this._settingsChanged(conversation),
      onkey: () => this._connect(),
      onexport: () => this._export(),
      onclear: () => this._clear(),
    });
  }

  /** The one that answers: chosen in this browser, or the server's first. */
  get _model() {
    return this._models.find(({ id }) => id === preference("model", null)) ?? this._models[0];
  }

  async start() {
    this._wire();
    this._conversations = await this._store.all();
    for (const conversation of this._conversations) markInterrupted(conversation);
    const last = this._conversations.find(({ id }) => id === preference("current", null));
    this._open(last ?? this._current);
    if (!this._store.persistent) this._toast("This browser keeps nothing here: conversations last as long as this page.");
    this._store.onchange = () => this._reload();
    await this._connect();
  }

  _wire() {
    byId("model").addEventListener("change", (event) => this._choose(event.target.value));
    const button = byId("theme");
    const showTheme = () => {
      button.replaceChildren(icon(THEME_ICONS[theme()]));
      button.setAttribute("aria-label", themeLabel());
      button.title = themeLabel();
    };
    button.addEventListener("click", () => {
      nextTheme();
      showTheme();
    });
    showTheme();
    byId("settings").append(icon("sliders"));
    byId("settings").addEventListener("click", () => this._settings.open(this._current));
    byId("system-chip").addEventListener("click", () => this._settings.open(this._current, "system"));
    byId("suggestions").append(
      ...SUGGESTIONS.map((text) => h("li", {}, h("button", { type: "button", onclick: () => this._say(text) }, text))),
    );
    document.addEventListener("keydown", (event) => this._onKey(event));
    addEventListener("pagehide", () => this._current.updated && this._save(this._current));
  }

  _messageActions() {
    return {
      regenerate: (node) => this._answer(this._current, addNode(this._current, parentOf(this._current, node), { role: "assistant" })),
      again: (node) => this._again(node),
      proceed: (node) => this._answer(this._current, node),
      edit: (node, text) => this._edit(node, text),
      choose: (node) => {
        choose(this._current, node);
        this._save(this._current);
        this._thread.show(this._current);
        this._showContext();
      },
      key: () => this._settings.open(this._current, "key"),
      settings: () => this._settings.open(this._current),
      fresh: () => this._new(),
    };
  }

  // What a person does.

  _say(text) {
    if (this._running.has(this._current.id)) return;
    const node = addNode(this._current, path(this._current).at(-1) ?? null, { role: "user", content: text });
    if (!this._conversations.includes(this._current)) this._conversations.push(this._current);
    this._answer(this._current, addNode(this._current, node, { role: "assistant" }));
  }

  /** An answer that failed before it began is asked for in its place, another beside it. */
  _again(node) {
    if (node.content) this._messageActions().regenerate(node);
    else this._answer(this._current, node);
  }

  _edit(node, text) {
    const conversation = this._current;
    if (node.role === "assistant") {
      node.content = text;
      this._save(conversation);
      this._thread.show(conversation);
      return;
    }
    const edited = addNode(conversation, parentOf(conversation, node), { role: "user", content: text });
    this._answer(conversation, addNode(conversation, edited, { role: "assistant" }));
  }

  _editLast() {
    const last = path(this._current).findLast((node) => node.role === "user");
    if (last) this._thread.edit(last);
  }

  _stop() {
    this._running.get(this._current.id)?.stop.abort();
  }

  _open(conversation) {
    this._current = conversation;
    setPreference("current", conversation.id);
    this._sidebar.closeOverlay();
    this._show();
    this._composer.focus();
  }

  _new() {
    this._open(newConversation(preference("sampling", {})));
  }

  _rename(conversation, title) {
    conversation.title = title;
    this._save(conversation);
    this._show();
  }

  _remove(conversation) {
    this._running.get(conversation.id)?.stop.abort();
    this._conversations = this._conversations.filter((other) => other !== conversation);
    this._store.remove(conversation.id);
    if (conversation === this._current) this._new();
    else this._showList();
    this._toast(`“${titleOf(conversation)}” is deleted.`, "Undo", () => {
      this._conversations.push(conversation);
      this._save(conversation);
      this._open(conversation);
    });
  }

  _clear() {
    for (const conversation of this._conversations) {
      this._running.get(conversation.id)?.stop.abort();
      this._store.remove(conversation.id);
    }
    this._conversations = [];
    this._new();
  }

  _export() {
    const blob = new Blob([JSON.stringify(this._conversations, null, 2)], { type: "application/json" });
    const link = h("a", { href: URL.createObjectURL(blob), download: "llmrt-conversations.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  _settingsChanged(conversation) {
    if (this._conversations.includes(conversation)) this._save(conversation);
    this._showChip();
  }

  _onKey(event) {
    const command = event.ctrlKey || event.metaKey;
    const typing = event.target.closest?.("input, textarea, dialog");
    if (event.key === "Escape" && !event.target.closest?.("dialog")) {
      if (this._sidebar.isOverlay) this._sidebar.closeOverlay();
      else this._stop();
    } else if (command && event.shiftKey && event.key.toLowerCase() === "o") {
      event.preventDefault();
      this._new();
    } else if (command && event.key === ",") {
      event.preventDefault();
      this._settings.open(this._current);
    } else if (event.key === "/" && !typing) {
      event.preventDefault();
      this._composer.focus();
    }
  }

  // Answers.

  /** Ask for an answer; another that is on its way in the conversation is stopped. */
  async _answer(conversation, node) {
    while (this._running.has(conversation.id)) {
      const { stop, ended } = this._running.get(conversation.id);
      stop.abort();
      await ended;
    }
    const running = { stop: new AbortController() };
    this._running.set(conversation.id, running);
    running.ended = this._stream(conversation, node, running.stop.signal);
  }

  async _stream(conversation, node, signal) {
    this._show();
    this._announce("The model is answering.");
    let saved = performance.now();
    await fillAnswer({
      conversation,
      node,
      model: this._model?.id,
      key: preference("key", ""),
      signal,
      onchange: () => {
        this._thread.update(node);
        if (performance.now() - saved < 1000 * SAVE_SECONDS) return;
        saved = performance.now();
        this._save(conversation);
      },
    });
    this._running.delete(conversation.id);
    if (this._conversations.includes(conversation)) this._save(conversation);
    if (node.error || !this._model?.contextLength) this._connect(); // the server may be gone, or have loaded a model
    if (conversation === this._current) {
      this._composer.setBusy(false);
      this._showContext();
      this._announce(node.error ? node.error.title : node.status === "stopped" ? "Stopped." : "The answer is complete.");
    }
    this._showList();
  }

  /** Learn which models are served; asks again while the server is loading the first or cannot be reached. */
  async _connect() {
    clearTimeout(this._retry);
    try {
      this._models = await fetchModels(preference("key", ""));
      this._showServed("ready", this._model.id);
      this._showModels();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this._showServed(...servedState(error));
      if (error.status !== 401) this._retry = setTimeout(() => this._connect(), 1000 * (error.retryAfter ?? RETRY_SECONDS));
    }
    this._showContext();
  }

  // What is shown.

  _show() {
    const empty = path(this._current).length === 0;
    byId("welcome").hidden = !empty;
    byId("thread").hidden = empty;
    byId("title").textContent = titleOf(this._current);
    document.title = empty ? "llmrt" : `${titleOf(this._current)} · llmrt`;
    this._thread.show(this._current);
    this._composer.setBusy(this._running.has(this._current.id));
    this._showList();
    this._showChip();
    this._showContext();
  }

  _showList() {
    this._conversations.sort((a, b) => b.updated - a.updated);
    this._sidebar.show(this._conversations, this._current, new Set(this._running.keys()));
  }

  _showChip() {
    const chip = byId("system-chip");
    chip.classList.toggle("set", Boolean(this._current.system));
    chip.textContent = this._current.system ? "System prompt is set" : "System prompt";
    chip.title = this._current.system || "Say how the model should answer";
  }

  _showServed(state, text) {
    byId("served").dataset.state = state;
    if (byId("served-text").textContent !== text) byId("served-text").textContent = text;
  }

  /** Several models are there to choose from, instead of the name of the only one. */
  _showModels() {
    const select = byId("model");
    select.hidden = this._models.length < 2;
    byId("served-text").hidden = !select.hidden;
    select.replaceChildren(...this._models.map(({ id }) => h("option", { value: id, selected: id === this._model.id }, id)));
  }

  _choose(id) {
    setPreference("model", id);
    this._showContext();
    this._composer.focus();
  }

  /** How much of the context the conversation took at its last answer. */
  _showContext() {
    const element = byId("context");
    const stats = path(this._current).findLast((node) => node.stats?.prompt)?.stats;
    const length = this._model?.contextLength;
    element.hidden = !length;
    if (!length) return;
    const used = stats ? stats.prompt + stats.tokens : 0;
    element.textContent = used ? `${count(used)} / ${count(length)} tokens` : `${count(length)} tokens`;
    element.title = used ? `The last answer left ${count(Math.max(0, length - used))} tokens of the context` : "The length of the context";
    element.classList.toggle("nearly-full", used > 0.9 * length);
  }

  _announce(text) {
    byId("announcer").textContent = text;
  }

  _toast(text, action, act) {
    const toast = h("div", { className: "toast" }, h("span", {}, text));
    const remove = () => toast.remove();
    if (action) {
      toast.append(
        h("button", { type: "button", onclick: () => (act(), remove()) }, action),
      );
    }
    byId("toasts").append(toast);
    setTimeout(remove, 8000);
  }

  // What is kept.

  async _save(conversation) {
    if (path(conversation).length === 0) return;
    try {
      await this._store.save(conversation);
    } catch (error) {
      this._toast(`This conversation could not be kept: ${error.message}`);
    }
  }

  /** Another tab changed something. What is being answered here stays as it is here. */
  async _reload() {
    const stored = await this._store.all();
    const own = new Map(this._conversations.filter(({ id }) => this._running.has(id)).map((conversation) => [conversation.id, conversation]));
    this._conversations = stored.map((conversation) => own.get(conversation.id) ?? conversation);
    const current = this._conversations.find(({ id }) => id === this._current.id);
    if (!current || current === this._current) {
      this._showList();
      return;
    }
    this._current = current;
    this._show();
  }
}

/** An answer that was on its way when the page was left. */
function markInterrupted(conversation) {
  for (const node of Object.values(conversation.nodes)) {
    if (node.status === "waiting" || node.status === "streaming") node.status = "stopped";
  }
}

function servedState(error) {
  if (error.status === 401) return ["fault", "API key needed"];
  if (error.code === "model_loading") return ["busy", "Loading the model"];
  return ["fault", error.status === 0 ? "Not connected" : "Engine stopped"];
}

new App(await ConversationStore.open()).start();
