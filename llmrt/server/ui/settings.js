// The settings: of this conversation, and of this browser.

import { byId, h, iconButton } from "./dom.js";
import { preference, setPreference } from "./store.js";

const NUMBERS = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: 0.05, help: "How freely words are drawn; 0 always takes the likeliest." },
  { name: "top_p", label: "Top-p", min: 0.01, max: 1, step: 0.01, help: "Draw from the likeliest words of this joint probability." },
  { name: "top_k", label: "Top-k", min: 0, step: 1, help: "Draw from so many of the likeliest words; 0 for all." },
  { name: "min_p", label: "Min-p", min: 0, max: 1, step: 0.01, help: "Drop words this much less likely than the likeliest." },
  { name: "repetition_penalty", label: "Repetition penalty", min: 0.1, step: 0.05, help: "Above 1, words that were used become less likely." },
  { name: "max_tokens", label: "Longest answer, in tokens", min: 1, step: 1, help: "An answer that reaches it is cut.", unset: "no limit" },
  { name: "seed", label: "Seed", step: 1, help: "The same seed draws the same answer.", unset: "random" },
];

/** `onchange` hears that the conversation's settings changed, `onkey` that the key did. */
export class Settings {
  constructor({ onchange, onkey, onexport, onclear }) {
    Object.assign(this, { _onchange: onchange, _onkey: onkey, _onexport: onexport, _onclear: onclear });
    this._dialog = byId("settings-dialog");
    this._dialog.addEventListener("click", (event) => {
      if (event.target === this._dialog) this._dialog.close(); // on the backdrop
    });
  }

  /** Open them for a conversation, with the cursor in the field `focus`, "system" or "key". */
  open(conversation, focus) {
    this._dialog.replaceChildren(
      h(
        "div",
        { className: "settings-body" },
        h("header", {}, h("h2", { id: "settings-title" }, "Settings"), iconButton("close", "Close the settings", () => this._dialog.close())),
        h("fieldset", {}, h("legend", {}, "This conversation"), this._system(conversation), h("div", { className: "numbers" }, NUMBERS.map((field) => this._number(conversation, field))), this._stop(conversation)),
        h("fieldset", {}, h("legend", {}, "This server"), this._key()),
        h("fieldset", {}, h("legend", {}, "This browser"), this._data()),
        h("fieldset", {}, h("legend", {}, "Keys"), shortcuts()),
      ),
    );
    this._dialog.showModal();
    if (focus) byId(`setting-${focus}`).focus();
  }

  _system(conversation) {
    const area = h("textarea", { id: "setting-system", dir: "auto", rows: 4, value: conversation.system, placeholder: "You are a careful assistant." });
    area.addEventListener("input", () => {
      conversation.system = area.value.trim();
      this._onchange(conversation);
    });
    return labelled("setting-system", "System prompt", area, "Sent before the first message: how the model should answer.");
  }

  _number(conversation, { name, label, help, unset = "model's default", ...limits }) {
    const input = h("input", { id: `setting-${name}`, type: "number", inputMode: "decimal", placeholder: unset, ...limits });
    input.value = conversation.sampling[name] ?? "";
    const fault = h("span", { className: "fault", role: "alert" });
    input.addEventListener("input", () => {
      input.step = "any"; // the step is for the arrows, any number may be typed
      const valid = input.validity.valid;
      fault.textContent = valid ? "" : input.validationMessage;
      if (!valid) return;
      if (input.value === "") delete conversation.sampling[name];
      else conversation.sampling[name] = input.valueAsNumber;
      setPreference("sampling", conversation.sampling);
      this._onchange(conversation);
    });
    return labelled(input.id, label, input, help, fault);
  }

  _stop(conversation) {
    const area = h("textarea", { id: "setting-stop", rows: 2, value: conversation.sampling.stop ?? "" });
    area.addEventListener("input", () => {
      conversation.sampling.stop = area.value;
      this._onchange(conversation);
    });
    return labelled(area.id, "Stop texts, one a line", area, "An answer ends before the first of them.");
  }

  _key() {
    const input = h("input", { id: "setting-key", type: "password", autocomplete: "off", value: preference("key", ""), spellcheck: false });
    input.addEventListener("change", () => {
      setPreference("key", input.value.trim());
      this._onkey();
    });
    return labelled(input.id, "API key", input, "Only where the server asks for one; kept in this browser.");
  }

  _data() {
    const button = (label, act, className = "quiet-button") =>
      h("button", { type: "button", className, onclick: act }, label);
    return h(
      "div",
      { className: "data-row" },
      button("Save all conversations to a file", () => this._onexport()),
      button("Delete all conversations", () => this._confirmClear(), "quiet-button danger"),
    );
  }

  _confirmClear() {
    if (!confirm("Delete every conversation in this browser? This cannot be undone.")) return;
    this._dialog.close();
    this._onclear();
  }
}

function labelled(id, label, control, help, ...more) {
  control.setAttribute("aria-describedby", `${id}-help`);
  return h("div", { className: "setting" }, h("label", { for: id }, label), control, h("span", { className: "help", id: `${id}-help` }, help), more);
}

function shortcuts() {
  const keys = [
    ["Enter", "send"],
    ["Shift + Enter", "a new line"],
    ["Esc", "stop the answer"],
    ["↑ in an empty box", "edit the last message"],
    ["Ctrl + Shift + O", "a new conversation"],
    ["Ctrl + ,", "these settings"],
    ["/", "to the message box"],
  ];
  return h("dl", { className: "keys" }, keys.map(([key, does]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, does))));
}
