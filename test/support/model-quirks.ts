/** What is peculiar about each kind of model server, as far as its documentation and its issues tell. */

import { fails, type Raw, type Speech, says } from "./model-answers.ts";
import type { RecordedRequest } from "./model-request.ts";

/** What is peculiar about a server, whatever it is asked. */
export interface Quirks {
  /** The ids it lists; default one chat model. */
  models?: string[];
  /** What each listed model has beside its id. */
  listing?: Record<string, unknown>;
  /** Request fields and types of response_format it answers with 400. */
  refuses?: ("stream_options" | "temperature" | "max_tokens" | "json_schema" | "json_object" | "tools")[];
  /** How it says no: `{ error: "…" }`, `{ error: { message, … } }`, that with a number for a code, or flat; default object. */
  errors?: "string" | "object" | "numeric" | "flat";
  /** What a request for a model it does not list comes to: 404, or an answer of the model it has, under that one's name. Default: an answer under any name. */
  unlisted?: "refused" | "loaded";
  /** Its words for a missing model. */
  missing?: (model: string) => string;
  /** How many words a prompt may have, and what becomes of a longer one: an error, an error with status 200, or a reply without a word. */
  context?: { words: number; overflow: "refused" | "reported" | "empty" };
  /** The field it puts into a last chunk beside the count. */
  timings?: boolean;
}

/** LM Studio: refuses json_object, errors are plain texts, models for embeddings are listed among the others, whatever is loaded answers. */
export const lmStudio: Quirks = {
  models: ["text-embedding-nomic-embed-text-v1.5", "qwen3-1.7b"],
  refuses: ["json_object"],
  errors: "string",
  unlisted: "loaded",
  context: { words: 2_500, overflow: "empty" },
};

/** Ollama: names have tags, a model has to be pulled. It cuts long prompts without a word, which nobody can see from outside. */
export const ollama: Quirks = {
  models: ["nomic-embed-text:latest", "qwen3:1.7b"],
  listing: { created: 1_764_000_000, owned_by: "library" },
  errors: "object",
  unlisted: "refused",
  missing: (model) => `model "${model}" not found, try pulling it first`,
};

/** llama.cpp's server: one model, whose name in requests it does not check; codes are numbers; the last chunk has no choices. */
export const llamaCpp: Quirks = {
  models: ["qwen3-1.7b-q4_k_m.gguf"],
  listing: { owned_by: "llamacpp", meta: { n_ctx_train: 40_960, n_embd: 2_048 } },
  refuses: ["tools"],
  errors: "numeric",
  unlisted: "loaded",
  context: { words: 2_500, overflow: "refused" },
  timings: true,
};

/** vLLM: serves the names it was started with, errors are flat, tools need a flag. */
export const vllm: Quirks = {
  models: ["Qwen/Qwen3-1.7B"],
  listing: { owned_by: "vllm", max_model_len: 4_096 },
  refuses: ["tools"],
  errors: "flat",
  unlisted: "refused",
  missing: (model) => `The model \`${model}\` does not exist.`,
  context: { words: 2_500, overflow: "refused" },
};

/** The model that answers: the requested one, or the one that is loaded. */
export function answering({ models = ["scripted-model"], unlisted }: Quirks, { body }: RecordedRequest): string {
  const loaded = models.find((id) => !id.includes("embed")) ?? models[0] ?? "none";
  return body.model && (unlisted !== "loaded" || models.includes(body.model)) ? body.model : loaded;
}

/** What the quirks make of a request instead of the usual answer; null for nothing. */
export function quirkyAnswer(quirks: Quirks, request: RecordedRequest): Raw | Speech | null {
  const { body, purpose } = request;
  if (purpose === "models" || purpose === "other") {
    return null;
  }
  const { models = [], unlisted, missing = (model: string) => `model ${model} not found` } = quirks;
  if (unlisted === "refused" && !models.includes(body.model ?? "")) {
    return refusal(quirks, 404, missing(body.model ?? ""), "not_found_error");
  }
  const type = body.response_format?.type ?? "";
  const refused = quirks.refuses?.find((field) => field === type || field in body);
  if (refused !== undefined) {
    const others = refused === "json_object" ? "'json_schema' or 'text'" : "'text'";
    const message = refused === type ? `'response_format.type' must be ${others}` : `Unrecognized request argument supplied: ${refused}`;
    return refusal(quirks, 400, message, "invalid_request_error");
  }
  const words = request.prompt.split(/\s+/).length;
  return quirks.context && purpose !== "embeddings" && words > quirks.context.words ? overflow(quirks, quirks.context, words) : null;
}

function overflow(quirks: Quirks, context: NonNullable<Quirks["context"]>, words: number): Raw | Speech {
  if (context.overflow === "empty") {
    return says("");
  }
  const message =
    quirks.errors === "numeric"
      ? `the request exceeds the available context size (${words} tokens), try increasing it`
      : `This model's maximum context length is ${context.words} tokens. However, your request has ${words} input tokens.`;
  return refusal(quirks, context.overflow === "reported" ? 200 : 400, message, "exceed_context_size_error");
}

function refusal({ errors = "object" }: Quirks, status: number, message: string, type: string): Raw {
  switch (errors) {
    case "string":
      return fails(status, { error: message });
    case "numeric":
      return fails(status, { error: { code: status === 200 ? 400 : status, message, type } });
    case "flat":
      return fails(status, { object: "error", message, type, param: null, code: status });
    default:
      return fails(status, { error: { message, type, param: null, code: null } });
  }
}
