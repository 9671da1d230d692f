// The server's own OpenAI API, as any client uses it.

const BASE = new URL("../v1/", import.meta.url);

/** A failure, with what the server said of it. `status` is 0 where no answer came, null inside a stream. */
export class ApiError extends Error {
  constructor(message, { status, code = null, param = null, retryAfter = null }) {
    super(message);
    Object.assign(this, { status, code, param, retryAfter });
  }
}

/** The models of the server: `{id, contextLength}`, a length that is known once the model has been loaded. */
export async function fetchModels(key) {
  const response = await request("models", { headers: headers(key) });
  return (await response.json()).data.map((model) => ({ id: model.id, contextLength: model.max_model_len }));
}

// What the server did otherwise than it was asked to, by the header that says so.
const NOTES = { "x-llmrt-clamped": "reduced", "x-llmrt-ignored": "without effect" };

/**
 * The chunks of a streamed answer. The signal ends it: the server then stops computing. `onnotes` is given a line for
 * each thing that the server does otherwise than it was asked to. Raises ApiError, also midway.
 */
export async function* streamChat({ body, key, signal, onnotes }) {
  const response = await request("chat/completions", {
    method: "POST",
    headers: { ...headers(key), "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  onnotes(Object.entries(NOTES).flatMap(([name, word]) => (response.headers.has(name) ? [`${word}: ${response.headers.get(name)}`] : [])));
  try {
    for await (const data of events(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.message, { status: null, ...chunk.error });
      yield chunk;
    }
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
    throw new ApiError("The connection broke in the middle of the answer.", { status: 0 });
  }
  throw new ApiError("The answer ended before it was complete.", { status: 0 });
}

/** The data of each server-sent event; comments, which keep connections open, are skipped. */
export async function* events(stream) {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:")) yield line.slice(5).trim();
    }
  }
}

function headers(key) {
  return key ? { authorization: `Bearer ${key}` } : {};
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(new URL(path, BASE), options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError("The server cannot be reached.", { status: 0 });
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response) {
  const { error = {} } = await response.json().catch(() => ({}));
  return new ApiError(error.message ?? `The server answered ${response.status} ${response.statusText}.`, {
    status: response.status,
    code: error.code,
    param: error.param,
    retryAfter: Number(response.headers.get("retry-after")) || null,
  });
}
