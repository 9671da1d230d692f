// Where a message is written.

import { byId, icon } from "./dom.js";

const TOUCH = matchMedia("(pointer: coarse)");

/** `onsend` gets the text, `onstop` ends an answer, `onrecall` is ArrowUp in an empty box, `onfiles` hears of files. */
export class Composer {
  constructor({ onsend, onstop, onrecall, onfiles }) {
    this._input = byId("input");
    this._send = byId("send");
    this._hint = byId("hint");
    this._onsend = onsend;
    this._onstop = onstop;
    this._onrecall = onrecall;
    this._onfiles = onfiles;
    this._input.addEventListener("keydown", (event) => this._onKey(event));
    this._input.addEventListener("input", () => this._onInput());
    this._input.addEventListener("paste", (event) => this._onFiles(event, event.clipboardData));
    document.addEventListener("drop", (event) => this._onFiles(event, event.dataTransfer));
    document.addEventListener("dragover", (event) => hasFiles(event.dataTransfer) && event.preventDefault());
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this._submit();
    });
    this.setBusy(false);
  }

  focus() {
    this._input.focus();
  }

  /** What is written and not sent. */
  get draft() {
    return this._input.value;
  }

  set draft(text) {
    this._input.value = text;
    this._onInput();
  }

  /** While an answer comes, the button stops it. */
  setBusy(busy) {
    this._busy = busy;
    const label = busy ? "Stop the answer" : "Send";
    this._send.classList.toggle("stop", busy);
    this._send.setAttribute("aria-label", label);
    this._send.title = label;
    this._send.replaceChildren(...(busy ? [] : [icon("up")]));
    this._hint.textContent = busy ? "Esc stops" : "Enter sends, Shift+Enter begins a line";
    this._onInput();
  }

  _onKey(event) {
    if (event.isComposing) return; // Enter ends a word of an input method
    if (event.key === "Enter" && !event.shiftKey && !TOUCH.matches) {
      event.preventDefault();
      if (!this._busy) this._submit();
    } else if (event.key === "ArrowUp" && !this._input.value) {
      event.preventDefault();
      this._onrecall();
    }
  }

  /** Files are no messages; the browser would open one that is dropped in place of the page. */
  _onFiles(event, data) {
    if (!hasFiles(data)) return;
    event.preventDefault();
    this._onfiles();
  }

  _submit() {
    if (this._busy) {
      this._onstop();
      return;
    }
    const text = this._input.value;
    if (!text.trim()) return;
    this.draft = "";
    this._onsend(text);
  }

  _onInput() {
    this._input.style.height = "auto";
    this._input.style.height = `${this._input.scrollHeight}px`;
    this._send.disabled = !this._busy && !this._input.value.trim();
  }
}

/** Whether it is files alone: what is copied from a document has a picture beside its text. */
function hasFiles(data) {
  return data.types.includes("Files") && !data.types.includes("text/plain");
}
