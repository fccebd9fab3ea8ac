// A model that follows a script, so that Claude Code takes real turns without an account. Also a program:
//   node endpoint.mjs TOOL ARGUMENTS   # prints its address, calls the tool once, and says what it answered

import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

/** What makes Claude Code ask the model at `address`, and nobody else. */
export const askingIt = (address) => ({
  ANTHROPIC_BASE_URL: address,
  ANTHROPIC_API_KEY: "none",
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
  // Otherwise a server that connects late misses the first prompt.
  MCP_CONNECTION_NONBLOCKING: "false",
});

/** The text of a message's block, or of what a tool answered. */
export function textOf(content) {
  if (typeof content === "string") return content;
  return content.map((block) => block.text ?? (block.content ? textOf(block.content) : "")).join("\n");
}

/** How many turns the model has taken in this conversation. */
const turns = ({ messages }) => messages.filter(({ role }) => role === "assistant").length;

/**
 * Follows a script: one entry a turn, and the last one from then on. `{ say }` is text, and without a text what the
 * tools answered; `{ calls: [[tool, arguments], …] }` calls tools by the end of their names. An entry may be a function
 * of what the tools answered.
 */
export function follow(script, request) {
  const answered = textOf(request.messages.at(-1).content);
  const entry = script[Math.min(turns(request), script.length - 1)];
  const { say, calls } = typeof entry === "function" ? entry(answered) : entry;
  if (!calls) return [{ type: "text", text: say ?? answered }];
  return calls.map(([tool, input], index) => {
    const known = request.tools.find(({ name }) => name.endsWith(tool));
    return { type: "tool_use", id: `toolu_${turns(request)}_${index}`, name: known?.name ?? tool, input };
  });
}

/** The stream of events in which the interface sends one answer. The client joins answers with the same `id`. */
function* events(id, model, content) {
  const usage = { input_tokens: 1, output_tokens: 1 };
  const message = { id: `msg_${id}`, type: "message", role: "assistant", model, content: [], stop_reason: null, usage };
  yield { type: "message_start", message };
  for (const [index, block] of content.entries()) {
    const { text, input } = block;
    const empty = input ? { ...block, input: {} } : { type: "text", text: "" };
    const delta = input ? { type: "input_json_delta", partial_json: JSON.stringify(input) } : { type: "text_delta", text };
    yield { type: "content_block_start", index, content_block: empty };
    yield { type: "content_block_delta", index, delta };
    yield { type: "content_block_stop", index };
  }
  const stop_reason = content.some(({ type }) => type === "tool_use") ? "tool_use" : "end_turn";
  yield { type: "message_delta", delta: { stop_reason }, usage };
  yield { type: "message_stop" };
}

/** Starts the model. `answer` makes the content of a message from a request; `requests` fills with all of them. */
export async function endpoint(answer) {
  const requests = [];
  const server = createServer(async (request, response) => {
    if (new URL(request.url, "http://localhost").pathname !== "/v1/messages") return response.writeHead(404).end("{}");
    const asked = JSON.parse((await request.toArray()).join(""));
    requests.push(asked);
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const event of events(requests.length, asked.model, answer(asked))) {
      response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    }
    response.end();
  });
  await new Promise((started) => server.listen(0, "127.0.0.1", started));
  const close = () => server.close() && server.closeAllConnections();
  return { address: `http://127.0.0.1:${server.address().port}`, requests, close };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [tool, input] = process.argv.slice(2);
  const script = [{ calls: [[tool, JSON.parse(input)]] }, {}];
  console.log((await endpoint((request) => follow(script, request))).address);
}
