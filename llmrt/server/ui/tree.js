// A conversation is a tree of messages. Editing and asking again add a sibling, so nothing that was said is lost;
// `chosen` names, for each message, the reply to it that is shown.

const ROOT = "root";

/** An id that no other has; crypto.randomUUID is missing over plain HTTP. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return `m${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export function newConversation(sampling = {}) {
  const now = Date.now();
  return { id: newId(), title: "", created: now, updated: now, system: "", sampling: { ...sampling }, nodes: {}, chosen: {} };
}

/** The messages that are shown, first to last. */
export function path(conversation) {
  const shown = [];
  for (let id = conversation.chosen[ROOT]; id; id = conversation.chosen[id]) shown.push(conversation.nodes[id]);
  return shown;
}

/** Add a reply to `parent` (null: the first message) and show it. */
export function addNode(conversation, parent, fields) {
  const node = { id: newId(), parent: parent?.id ?? null, content: "", ...fields };
  conversation.nodes[node.id] = node;
  choose(conversation, node);
  conversation.updated = Date.now();
  return node;
}

/** Show `node` among its siblings. */
export function choose(conversation, node) {
  conversation.chosen[node.parent ?? ROOT] = node.id;
}

/** The versions of a message, oldest first, itself among them. */
export function versions(conversation, node) {
  return Object.values(conversation.nodes).filter((other) => other.parent === node.parent);
}

/** The message that `node` replies to, null for the first. */
export function parentOf(conversation, node) {
  return node.parent === null ? null : conversation.nodes[node.parent];
}

/** What the API is sent up to and with `last`; answers that never began are left out. */
export function apiMessages(conversation, last) {
  const messages = [];
  for (let node = last; node; node = parentOf(conversation, node)) {
    if (node.content) messages.unshift({ role: node.role, content: node.content });
  }
  return conversation.system ? [{ role: "system", content: conversation.system }, ...messages] : messages;
}

/** The name that a conversation goes by. */
export function titleOf(conversation) {
  if (conversation.title) return conversation.title;
  const first = path(conversation)[0]?.content.trim().split("\n", 1)[0] ?? "";
  return first.length > 60 ? `${first.slice(0, 57)}…` : first || "New conversation";
}
