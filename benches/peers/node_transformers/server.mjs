// An MCP server in Node: the official SDK and transformers.js in one process.
//
//     node server.mjs MODEL_FOLDER

import { basename, dirname, resolve } from "node:path";
import { env, pipeline } from "@huggingface/transformers";
import { McpServer } from "@modelcontextprotocol/server";
import { StdioServerTransport } from "@modelcontextprotocol/server/stdio";
import { z } from "zod";

const folder = resolve(process.argv[2]);
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);
const classifier = await pipeline("text-classification", basename(folder), {
  device: "cpu",
  // These two select the file: transformers.js calls model.onnx "fp32", regardless of its weights.
  subfolder: "",
  dtype: "fp32",
});

const CACHED_TEXTS = 65_536;
const cache = new Map();

async function classify(text) {
  let found = cache.get(text);
  if (found) cache.delete(text);
  else {
    const [{ label, score }] = await classifier(text);
    found = { prediction: label, confidence: score };
    if (cache.size >= CACHED_TEXTS) cache.delete(cache.keys().next().value);
  }
  // A Map keeps the order of insertion: the first key is the least recently used.
  cache.set(text, found);
  return found;
}

const server = new McpServer({ name: "node-transformers", version: "1.0.0" });
server.registerTool(
  "predict",
  {
    description: "Classifies a text.",
    inputSchema: z.object({ text: z.string() }),
    outputSchema: z.object({ prediction: z.string(), confidence: z.number() }),
  },
  async ({ text }) => {
    const structuredContent = await classify(text);
    return { content: [{ type: "text", text: JSON.stringify(structuredContent) }], structuredContent };
  },
);
await server.connect(new StdioServerTransport());
