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
      const store = new ConversationStore(await openDatabase());
      await store._finish();
      return store;
    } catch {
      return new ConversationStore(null);
    }
  }

  async all() {
    return this._database ? settled(this._database.transaction(STORE).objectStore(STORE).getAll()) : [];
  }

  async save(conversation) {
    await this._change(conversation.id, JSON.stringify(conversation));
  }

  async remove(id) {
    await this._change(id, "null");
  }

  /** A page that is loaded again takes the transactions with it that had not begun, so the change is noted as well. */
  async _change(id, change) {
    if (!this._database) return;
    noteDown(id, change);
    await this._write(id, change);
    this._channel.postMessage(id);
  }

  async _write(id, change) {
    const transaction = this._database.transaction(STORE, "readwrite");
    const objects = transaction.objectStore(STORE);
    const conversation = JSON.parse(change);
    const written = settled(conversation ? objects.put(conversation) : objects.delete(id));
    transaction.commit(); // now: a page that is closed does not come to it later
    await written;
    strikeOut(id, change);
  }

  async _finish() {
    for (const [id, change] of notes()) await this._write(id, change);
  }
}

// What this tab changed and the database may not have yet: by a conversation's id, its JSON, or null where it was removed.

const NOTE = "llmrt.change.";

function notes() {
  const keys = Object.keys(sessionStorage).filter((key) => key.startsWith(NOTE));
  return keys.map((key) => [key.slice(NOTE.length), sessionStorage.getItem(key)]);
}

function noteDown(id, change) {
  try {
    sessionStorage.setItem(NOTE + id, change);
  } catch {
    sessionStorage.removeItem(NOTE + id); // Too large to note: an older change may not come back in its place.
  }
}

/** If there was another change since, that one stays. */
function strikeOut(id, change) {
  if (sessionStorage.getItem(NOTE + id) === change) sessionStorage.removeItem(NOTE + id);
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
