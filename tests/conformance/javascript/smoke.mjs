// What the clients for JavaScript make of the server at the URL in the arguments. Any failure is an exception.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const messages = [{ role: "user", content: "What is the capital of France?" }];
const answer = "The capital of France is Paris.";
const tool = {
  type: "function",
  function: {
    name: "set_alarm",
    strict: true,
    parameters: {
      type: "object",
      properties: { hour: { type: "integer", minimum: 0, maximum: 23 } },
      required: ["hour"],
      additionalProperties: false,
    },
  },
};

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });

async function chats() {
  const ask = { model, messages, temperature: 0 };
  const whole = await openai.chat.completions.create(ask);
  assert.equal(whole.choices[0].message.content, answer);
  let text = "";
  for await (const chunk of await openai.chat.completions.create({ ...ask, stream: true })) {
    text += chunk.choices[0].delta.content ?? "";
  }
  assert.equal(text, answer);
}

async function calls() {
  const stream = openai.chat.completions.stream({ model, messages, tools: [tool], tool_choice: "required", parallel_tool_calls: false });
  const [call] = (await stream.finalChatCompletion()).choices[0].message.tool_calls;
  assert.equal(call.function.name, "set_alarm");
  assert.ok(Number.isInteger(JSON.parse(call.function.arguments).hour));
}

async function responses() {
  const ask = { model, input: messages[0].content, temperature: 0 };
  assert.equal((await openai.responses.create(ask)).output_text, answer);
  assert.equal((await openai.responses.stream(ask).finalResponse()).output_text, answer);
}

async function errors() {
  await assert.rejects(openai.chat.completions.create({ model: "none", messages }), OpenAI.NotFoundError);
  await assert.rejects(openai.chat.completions.create({ model, messages: [] }), OpenAI.BadRequestError);
}

async function aiSdk() {
  const provider = createOpenAICompatible({ name: "llmrt", baseURL: `${url}/v1` });
  const ask = { model: provider(model), prompt: messages[0].content, temperature: 0 };
  assert.equal((await generateText(ask)).text, answer);
  let text = "";
  for await (const piece of streamText(ask).textStream) text += piece;
  assert.equal(text, answer);
}

for (const check of [chats, calls, responses, errors, aiSdk]) {
  await check();
  console.log(`${check.name}: ok`);
}
