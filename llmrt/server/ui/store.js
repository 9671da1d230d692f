// What this browser keeps: conversations in IndexedDB, preferences in localStorage. Where either is blocked, as in some
// private windows, both last as long as the page does.

const DATABASE = "llmrt";
const STORE = "conversations";

/** Settles like an IDBRequest. */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function openDatabase() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
  return settled(request);
}

/** Conversations by id. `persistent` is false where the browser keeps nothing; `onchange` hears of other tabs. */
export class ConversationStore {
  constructor(database) {
    this.persistent = database !== null;
    this.onchange = () => {};
    this._database = database;
    this._channel = new BroadcastChannel("llmrt");
    this._channel.onmessage = () => this.onchange();
  }

  static async open() {
    try {
      return new ConversationStore(await openDatabase());
    } catch {
      return new ConversationStore(null);
    }
  }

  async all() {
    return this._database ? settled(this._objects("readonly").getAll()) : [];
  }

  async save(conversation) {
    if (!this._database) return;
    await settled(this._objects("readwrite").put(structuredClone(conversation)));
    this._channel.postMessage(conversation.id);
  }

  async remove(id) {
    if (!this._database) return;
    await settled(this._objects("readwrite").delete(id));
    this._channel.postMessage(id);
  }

  _objects(mode) {
    return this._database.transaction(STORE, mode).objectStore(STORE);
  }
}

const unsaved = new Map();

/** A preference, `fallback` where there is none. */
export function preference(name, fallback) {
  try {
    const text = localStorage.getItem(`llmrt.${name}`);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return unsaved.has(name) ? unsaved.get(name) : fallback;
  }
}

/** Keep a preference. */
export function setPreference(name, value) {
  unsaved.set(name, value);
  try {
    localStorage.setItem(`llmrt.${name}`, JSON.stringify(value));
  } catch {
    // Blocked or full: it lasts as long as the page.
  }
}
