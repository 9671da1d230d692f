// The list of conversations.

import { byId, h, icon, iconButton } from "./dom.js";
import { titleOf } from "./tree.js";

const DAY = 24 * 60 * 60 * 1000;
const NARROW = matchMedia("(max-width: 820px)");

/** `onopen`, `onrename` and `onremove` get a conversation, `onnew` nothing. */
export class Sidebar {
  constructor({ onopen, onnew, onrename, onremove }) {
    Object.assign(this, { _onopen: onopen, _onrename: onrename, _onremove: onremove });
    this._element = byId("sidebar");
    this._list = byId("conversations");
    this._search = byId("search");
    this._shown = { conversations: [], current: null, busy: new Set() };
    byId("new").prepend(icon("plus"));
    byId("new").addEventListener("click", onnew);
    byId("open-sidebar").append(icon("menu"));
    byId("open-sidebar").addEventListener("click", () => this.toggle());
    byId("close-sidebar").append(icon("close"));
    byId("close-sidebar").addEventListener("click", () => this.toggle(false));
    byId("scrim").addEventListener("click", () => this.toggle(false));
    this._search.addEventListener("input", () => this._draw());
    NARROW.addEventListener("change", () => this.toggle(!NARROW.matches));
    this.toggle(!NARROW.matches);
  }

  get isOverlay() {
    return NARROW.matches && !this._element.inert;
  }

  /** Open or close it; on a narrow screen it lies over the messages. */
  toggle(open = this._element.inert) {
    this._element.inert = !open;
    document.body.classList.toggle("sidebar-open", open);
    byId("scrim").hidden = !(open && NARROW.matches);
    byId("open-sidebar").setAttribute("aria-expanded", String(open));
  }

  /** Close it where it lies over the messages. */
  closeOverlay() {
    if (this.isOverlay) this.toggle(false);
  }

  /** Show `conversations`, newest first; `busy` are the ids of those with an answer on its way. */
  show(conversations, current, busy) {
    this._shown = { conversations, current, busy };
    this._draw();
  }

  _draw() {
    if (this._list.querySelector(".rename")) return; // drawn when the name is given
    const focused = focusedIn(this._list);
    const wanted = this._search.value.trim().toLowerCase();
    const found = this._shown.conversations.filter((conversation) => !wanted || textOf(conversation).includes(wanted));
    const groups = grouped(found);
    const sections = [...groups].map(([age, members]) =>
      h("section", {}, h("h2", {}, age), h("ul", {}, members.map((conversation) => this._item(conversation)))),
    );
    const none = h("p", { className: "none" }, wanted ? "Nothing found." : "What you write is kept in this browser alone.");
    this._list.replaceChildren(...(sections.length ? sections : [none]));
    if (focused) this._list.querySelector(`[data-id="${focused.id}"]`)?.children[focused.button]?.focus();
  }

  _item(conversation) {
    const title = titleOf(conversation);
    const current = conversation === this._shown.current;
    const item = h("li", { className: current ? "item current" : "item", dataset: { id: conversation.id } });
    const open = h("button", { type: "button", className: "open", dir: "auto", onclick: () => this._onopen(conversation) }, title);
    if (current) open.setAttribute("aria-current", "page");
    if (this._shown.busy.has(conversation.id)) open.prepend(h("span", { className: "dot busy", role: "img", "aria-label": "Answering" }));
    item.append(
      open,
      iconButton("edit", `Rename ${title}`, () => this._rename(item, conversation)),
      iconButton("trash", `Delete ${title}`, () => this._onremove(conversation)),
    );
    return item;
  }

  _rename(item, conversation) {
    const input = h("input", { type: "text", dir: "auto", value: titleOf(conversation), "aria-label": "Name of the conversation", className: "rename" });
    let done = false;
    const finish = (keep) => {
      if (done) return;
      done = true;
      input.remove();
      if (keep && input.value.trim()) this._onrename(conversation, input.value.trim());
      this._draw();
    };
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.stopPropagation();
      event.preventDefault(); // the key would press the button that gets the focus
      finish(event.key === "Enter");
      this._list.querySelector(`[data-id="${conversation.id}"] .open`)?.focus();
    });
    input.addEventListener("blur", () => finish(true));
    item.replaceChildren(input);
    input.select();
  }
}

/** Whose button has the focus, and which of them it is. */
function focusedIn(list) {
  const item = list.contains(document.activeElement) && document.activeElement.closest(".item");
  return item ? { id: item.dataset.id, button: [...item.children].indexOf(document.activeElement) } : null;
}

function textOf(conversation) {
  const contents = Object.values(conversation.nodes).map((node) => node.content);
  return [titleOf(conversation), ...contents].join("\n").toLowerCase();
}

function ageOf({ updated }) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (updated >= today) return "Today";
  if (updated >= today - DAY) return "Yesterday";
  return updated >= today - 7 * DAY ? "Last seven days" : "Earlier";
}

function grouped(conversations) {
  const groups = new Map();
  for (const conversation of conversations) {
    const age = ageOf(conversation);
    groups.set(age, [...(groups.get(age) ?? []), conversation]);
  }
  return groups;
}
