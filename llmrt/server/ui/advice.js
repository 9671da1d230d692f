// What to do about a failure: a title, a line of advice, and the actions that help.

const RULES = [
  [(error) => error.status === 401, "An API key is needed", "Ask whoever started the server for its key and enter it in the settings.", ["key", "again"]],
  [(error) => error.code === "context_length_exceeded", "The conversation is too long", "Begin a new one, shorten a message, or start the server with a larger --ctx.", ["new"]],
  [(error) => error.code === "model_loading", "The model is still loading", "This takes moments for small models, and up to minutes for large ones.", ["again"]],
  [(error) => error.code === "engine_dead", "The engine stopped", "The server's log says why. If it does not come back, start llmrt serve again.", ["again"]],
  [(error) => error.status === 429 || error.code === "queue_full", "The server is busy", "Others are being answered; try again in a moment.", ["again"]],
  [(error) => error.status === 0, "The connection failed", "Check that llmrt serve is running and that this device can reach it.", ["again"]],
  [(error) => error.param === "messages", "The messages were refused", "Edit the message that the server names, or the system prompt.", ["settings", "again"]],
  [(error) => error.status === 400, "A setting was refused", "Change it in the settings, or clear it for the model's default.", ["settings", "again"]],
];
const OTHERWISE = ["The server failed", "Its log says more about it.", ["again"]];

/** `{title, advice, actions, message}`; plain data, so that it can be kept with the message. */
export function adviceFor(error) {
  const rule = RULES.find(([applies]) => applies(error));
  const [title, advice, actions] = rule ? rule.slice(1) : OTHERWISE;
  return { title, advice, actions, message: error.message };
}
