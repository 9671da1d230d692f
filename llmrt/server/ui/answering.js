// One answer: asking for it, taking in its pieces, and measuring it.

import { adviceFor } from "./advice.js";
import { streamChat } from "./api.js";
import { apiMessages, parentOf } from "./tree.js";

/** Sampling settings as the API has them; what is empty is left to the model's own defaults. */
function samplingFields({ stop = "", max_tokens: limit, ...numbers }) {
  const fields = Object.fromEntries(Object.entries(numbers).filter(([, value]) => typeof value === "number"));
  const stops = stop.split("\n").filter((line) => line !== "");
  if (stops.length) fields.stop = stops;
  if (typeof limit === "number") fields.max_completion_tokens = limit;
  return fields;
}

/**
 * Fill `node`, an answer in `conversation`; one that has content already is continued. `onchange` is called after every
 * piece. It never throws: a failure is kept in `node.error` as advice.
 */
export async function fillAnswer({ conversation, node, model, key, signal, onchange }) {
  const last = node.content ? node : parentOf(conversation, node);
  const body = { model, messages: apiMessages(conversation, last), ...samplingFields(conversation.sampling) };
  const clock = new Clock();
  const continued = Boolean(node.content);
  Object.assign(node, { status: "waiting", error: null, finish: null, stats: null, notes: [] });
  onchange();
  try {
    for await (const chunk of streamChat({ body, key, signal, onnotes: (notes) => (node.notes = notes) })) {
      take(node, chunk, clock);
      onchange();
    }
    node.status = "done";
  } catch (error) {
    node.status = signal.aborted ? "stopped" : "failed";
    node.error = signal.aborted ? null : adviceFor(error);
  }
  node.stats = clock.stats(continued);
  onchange();
}

function take(node, chunk, clock) {
  if (chunk.usage) clock.usage = chunk.usage;
  const [choice] = chunk.choices;
  if (!choice) return;
  const thought = choice.delta.reasoning_content ?? choice.delta.reasoning ?? "";
  const text = choice.delta.content ?? "";
  if (thought) node.reasoning = (node.reasoning ?? "") + thought;
  if (text) node.content += text;
  if (thought || text) {
    clock.tick();
    node.status = "streaming";
  }
  node.finish = choice.finish_reason ?? node.finish;
}

const SHORTEST = 0.05; // seconds of pieces that tell a rate: a proxy may hand over an answer at once

/** Times an answer. Counts come from the server's usage; of an answer that was stopped there is none, only pieces. */
class Clock {
  constructor() {
    this.usage = null;
    this._start = performance.now();
    this._first = this._last = null;
    this._pieces = 0;
  }

  tick() {
    this._last = performance.now();
    this._first ??= this._last;
    this._pieces += 1;
  }

  /** `continued`: they are those of what was added to an answer. */
  stats(continued) {
    if (this._first === null) return null;
    const tokens = this.usage?.completion_tokens ?? this._pieces;
    const seconds = (this._last - this._first) / 1000;
    return {
      tokens,
      continued,
      exact: this.usage !== null,
      prompt: this.usage?.prompt_tokens ?? null,
      cached: this.usage?.prompt_tokens_details?.cached_tokens ?? null,
      firstToken: (this._first - this._start) / 1000,
      rate: tokens > 1 && seconds > SHORTEST ? (tokens - 1) / seconds : null,
    };
  }
}
