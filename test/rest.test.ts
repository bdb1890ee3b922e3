/** REST: runs as JSON and as streams of events, bodies in every form, lists in pages. */

import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sendEvents } from "../src/rest/event-stream.ts";
import { fails, says } from "./support/model-answers.ts";
import { startTestServer, type TestServer } from "./support/server.ts";

const JSON_TYPE = "application/json";
const FORM_TYPE = "application/x-www-form-urlencoded";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.close());

interface SentEvent {
  name: string;
  id: number | null;
  // biome-ignore lint/suspicious/noExplicitAny: events have fields of their own.
  data: any;
}

function post(body: object, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
  const init = { method: "POST", headers: { "content-type": JSON_TYPE, ...headers }, body: JSON.stringify(body) };
  return fetch(`${server.url}/v1/agents/rag-agent/run`, signal ? { ...init, signal } : init);
}

function postForm(body: BodyInit, headers: Record<string, string> = { "x-recollect-request": "true" }): Promise<Response> {
  return fetch(`${server.url}/v1/agents/rag-agent/run`, { method: "POST", headers, body });
}

async function* eventsOf(response: Response): AsyncGenerator<SentEvent, void> {
  let text = "";
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    const frames = text.split("\n\n");
    text = frames.pop() ?? "";
    yield* frames.filter((frame) => !frame.startsWith(":")).map(parseFrame);
  }
  expect(text).toBe("");
}

function parseFrame(frame: string): SentEvent {
  const fields = new Map(frame.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
  const id = fields.get("id");
  return { name: fields.get("event") ?? "", id: id === undefined ? null : Number(id), data: JSON.parse(fields.get("data") ?? "null") };
}

async function collect(events: AsyncIterable<SentEvent>): Promise<SentEvent[]> {
  const found: SentEvent[] = [];
  for await (const event of events) {
    found.push(event);
  }
  return found;
}

async function stream(body: object, headers: Record<string, string> = {}): Promise<SentEvent[]> {
  const response = await post({ ...body, stream: true }, headers);
  expect(response.status).toBe(200);
  return collect(eventsOf(response));
}

async function errorOf(response: Response): Promise<{ status: number; code: string; message: string }> {
  const { error } = (await response.json()) as { error: { code: string; message: string } };
  return { status: response.status, code: error.code, message: error.message };
}

function textOf(events: SentEvent[]): string {
  return events.map(({ name, data }) => (name === "RunContent" ? data.content : "")).join("");
}

describe("a streamed run", () => {
  test("sends Agno's events: the reply as it is written, its end, and then what was remembered", async () => {
    const response = await post({ message: "I love hiking.", user_id: "rest-1", session_id: "s", stream: true });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(response.headers.get("cache-control")).toBe("no-store");
    const events = await collect(eventsOf(response));
    const names = events.map(({ name }) => name);
    expect(names.slice(0, 3)).toEqual(["RunStarted", "CustomEvent", "RunContent"]);
    expect(names.slice(-4)).toEqual(["RunContentCompleted", "RunCompleted", "MemoryUpdateStarted", "MemoryUpdateCompleted"]);
    const ids = events.flatMap(({ id }) => id ?? []);
    expect(ids).toEqual(ids.toSorted((one, other) => one - other));
    for (const { name, data } of events) {
      expect(data).toMatchObject({
        event: name,
        agent_id: "rag-agent",
        agent_name: "RAG Agent",
        session_id: "s",
        run_id: events[0]?.data.run_id,
      });
      expect(Number.isInteger(data.created_at)).toBe(true);
    }
    const completed = events.find(({ name }) => name === "RunCompleted")?.data;
    expect(textOf(events)).toBe(completed.content);
    expect(completed).toMatchObject({ model: "scripted-model", metrics: { total_tokens: expect.any(Number) } });
    const { memories, changes } = events.at(-1)?.data ?? {};
    expect(memories).toMatchObject([{ user_id: "rest-1", memory: "User loves hiking", topics: ["hobbies", "activities"] }]);
    expect(changes).toMatchObject([{ kind: "ADDED", memory_id: memories[0].memory_id, sequence: 1, quote: "I love hiking" }]);
  });

  test("tells what was recalled, and ends with the reply when there is nothing to remember", async () => {
    await stream({ message: "I love sailing.", user_id: "rest-2" });
    const events = await stream({ message: "What are my hobbies?", user_id: "rest-2" });
    expect(events[1]?.data).toMatchObject({ event: "CustomEvent", name: "MemoriesRecalled" });
    expect(events[1]?.data.memories[0].memory).toMatch(/sailing/);
    expect(events.at(-1)?.name).toBe("RunCompleted");
    expect(events.at(-1)?.data.content).toMatch(/sailing/);
  });

  test("shows text while the model still writes", async () => {
    const gate = server.model.hold(3);
    const events = eventsOf(await post({ message: "Tell me something long.", user_id: "rest-3", stream: true }));
    const seen: SentEvent[] = [];
    for await (const event of events) {
      seen.push(event);
      if (event.name === "RunContent") {
        gate.release();
      }
    }
    expect(textOf(seen)).toBe(seen.find(({ name }) => name === "RunCompleted")?.data.content);
  });

  test("shows a model's reasoning apart from its reply", async () => {
    server.model.script("reply", says("Four.", { reasoning: "Two and two." }));
    const events = await stream({ message: "What is two and two?", user_id: "rest-4" });
    const reasoning = events.map(({ name, data }) => (name === "ReasoningContentDelta" ? data.reasoning_content : "")).join("");
    expect(reasoning).toBe("Two and two.");
    expect(textOf(events)).toBe("Four.");
  });

  test("goes on without its client", async () => {
    const gate = server.model.hold(1);
    const client = new AbortController();
    const events = eventsOf(await post({ message: "Go on without me.", user_id: "rest-5", stream: true }, {}, client.signal));
    const { value } = await events.next();
    client.abort();
    gate.release();
    const run = { userId: "rest-5", runId: value?.data.run_id };
    for await (const _ of server.subscribe("FollowRun", { ...run, after: 0 })) {
      // Until it ends.
    }
    expect((await server.data("Run", run)).run.status).toBe("COMPLETED");
  });

  test("ends with RunError when the model fails", async () => {
    server.model.script("reply", fails(401, { error: { message: "Invalid key" } }));
    const events = await stream({ message: "Hello there.", user_id: "rest-6" });
    const failed = events.find(({ name }) => name === "RunError")?.data;
    expect(failed).toMatchObject({ error_type: "MODEL_UNAVAILABLE", content: expect.stringMatching(/key/i), error_id: null });
  });

  test("ends with RunCancelled when someone stops it", async () => {
    server.model.hold(1);
    const events: SentEvent[] = [];
    for await (const event of eventsOf(await post({ message: "Stop me.", user_id: "rest-7", stream: true }))) {
      events.push(event);
      if (event.name === "RunContent") {
        await server.data("CancelRun", { input: { userId: "rest-7", runId: event.data.run_id } });
      }
    }
    expect(events.map(({ name }) => name)).toContain("RunCancelled");
    expect(events.map(({ name }) => name)).not.toContain("RunCompleted");
  });

  test("says when the memories of its message could not be had", async () => {
    server.model.respond((request) => (request.purpose === "extraction" ? says("no json") : undefined));
    const events: SentEvent[] = [];
    let drained: Promise<void> | undefined;
    for await (const event of eventsOf(await post({ message: "I love chess.", user_id: "rest-8", stream: true }))) {
      events.push(event);
      if (event.name === "MemoryUpdateStarted") {
        drained = server.drain();
      }
    }
    await drained;
    server.model.respond(() => undefined);
    expect(events.at(-1)?.data).toMatchObject({ event: "CustomEvent", name: "MemoryUpdateFailed", error: { code: "MODEL_BAD_RESPONSE" } });
  });

  test("is the same run for the same Idempotency-Key, and goes on after Last-Event-ID", async () => {
    const body = { message: "I love opera.", user_id: "rest-9", session_id: "s" };
    const first = await stream(body, { "idempotency-key": "once" });
    const again = await stream(body, { "idempotency-key": "once" });
    expect(again).toEqual(first.map((event) => ({ ...event, data: expect.objectContaining({ run_id: first[0]?.data.run_id }) })));
    for (const { id } of first.filter((event) => event.id !== null)) {
      const rest = await stream(body, { "idempotency-key": "once", "last-event-id": String(id) });
      expect(rest.flatMap((event) => event.id ?? [])).toEqual(
        first.flatMap((event) => event.id ?? []).filter((other) => other > (id ?? 0)),
      );
    }
    const whole = (await (await post(body, { "idempotency-key": "once" })).json()) as { run_id: string };
    expect(whole.run_id).toBe(first[0]?.data.run_id);
    expect(server.model.asked("reply").filter((request) => request.prompt.includes("opera"))).toHaveLength(1);

    const other = await errorOf(await post({ ...body, message: "Something else." }, { "idempotency-key": "once" }));
    expect(other).toMatchObject({ status: 409, code: "IDEMPOTENCY_CONFLICT" });
    expect(await errorOf(await post(body, { "last-event-id": "3" }))).toMatchObject({ status: 400, message: /Idempotency-Key/ });
    expect(await errorOf(await post(body, { "idempotency-key": "once", "last-event-id": "x" }))).toMatchObject({ status: 400 });
    expect(await errorOf(await post(body, { "idempotency-key": "x".repeat(257) }))).toMatchObject({ status: 400, message: /256 bytes/ });
  });

  test("of a server that closes ends instead of waiting for memories", async () => {
    const closing = await startTestServer();
    const gate = closing.model.hold(0, "extraction");
    const response = await fetch(`${closing.url}/v1/agents/rag-agent/run`, {
      method: "POST",
      headers: { "content-type": JSON_TYPE },
      body: JSON.stringify({ message: "I love tennis.", user_id: "rest-10", stream: true }),
    });
    const names: string[] = [];
    let closed: Promise<void> | undefined;
    for await (const { name } of eventsOf(response)) {
      names.push(name);
      if (name === "MemoryUpdateStarted") {
        await gate.reached;
        closed = closing.close();
      }
    }
    await closed;
    expect(names.slice(-2)).toEqual(["RunCompleted", "MemoryUpdateStarted"]);
  });
});

describe("server-sent events", () => {
  async function serve(handle: Parameters<typeof createServer>[1]) {
    const http = createServer(handle);
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    return { http, port: (http.address() as AddressInfo).port };
  }

  test("are made no faster than they are read", async () => {
    const waiting: number[] = [];
    const { http, port } = await serve((_, response) => {
      async function* events() {
        for (let id = 1; id <= 200; id++) {
          waiting.push(response.writableLength);
          yield { name: "Piece", id, data: { text: "x".repeat(64 * 1024) } };
        }
      }
      void sendEvents(response, events(), new AbortController().signal);
    });
    const [response] = await once(httpRequest({ port }).end(), "response");
    let length = 0;
    for await (const chunk of response) {
      length += chunk.length;
    }
    http.close();
    expect(length).toBeGreaterThan(200 * 64 * 1024);
    expect(Math.max(...waiting)).toBeLessThan(128 * 1024);
  });

  test("are joined by comments while nothing happens", async () => {
    const quiet = Promise.withResolvers<void>();
    const { http, port } = await serve((_, response) => {
      async function* events() {
        await quiet.promise;
        yield { name: "Done", id: 1, data: {} };
      }
      void sendEvents(response, events(), new AbortController().signal, 5);
    });
    const [response] = await once(httpRequest({ port }).end(), "response");
    let text = "";
    for await (const chunk of response.setEncoding("utf8")) {
      text += chunk;
      quiet.resolve();
    }
    http.close();
    expect(text).toMatch(/^(: still here\n\n)+id: 1\nevent: Done\ndata: \{\}\n\n$/);
  });
});

describe("a form", () => {
  const fields = { message: "Grüße & 100 % = alles, ja?", user_id: "rest-form", session_id: "s" };

  test("is read like JSON, in both encodings", async () => {
    const multipart = new FormData();
    for (const [name, value] of Object.entries(fields)) {
      multipart.set(name, value);
    }
    for (const body of [new URLSearchParams(fields), multipart]) {
      const response = await postForm(body);
      expect(response.status).toBe(200);
      const run = (await response.json()) as { run_id: string; session_id: string; user_id: string };
      expect(run).toMatchObject({ session_id: "s", user_id: "rest-form" });
      const stored = await server.data("Run", { userId: "rest-form", runId: run.run_id });
      expect(stored.run.messages[0].content).toBe(fields.message);
    }
  });

  test("can ask for a stream", async () => {
    const response = await postForm(new URLSearchParams({ ...fields, stream: "true" }), { authorization: "Bearer anything" });
    expect(response.headers.get("content-type")).toMatch(/event-stream/);
    expect((await collect(eventsOf(response))).map(({ name }) => name)).toContain("RunCompleted");
    expect((await postForm(new URLSearchParams({ ...fields, stream: "false" }))).headers.get("content-type")).toMatch(/json/);
  });

  test("is refused without a header that no foreign web page can send, before it is read", async () => {
    const multipart = new FormData();
    multipart.set("message", "Hello");
    for (const body of [new URLSearchParams(fields), multipart]) {
      expect(await errorOf(await postForm(body, {}))).toMatchObject({ status: 403, code: "FORBIDDEN", message: /x-recollect-request/ });
    }
  });

  test.each<[string, string, RegExp]>([
    ["an unknown value of stream", "message=Hello&user_id=a&stream=yes", /stream.*true or false/],
    ["a field sent twice", "message=Hello&user_id=a&user_id=b", /user_id.*twice/],
    ["a missing field", "message=Hello", /user_id.*missing/],
    ["a field without a name", "=Hello&user_id=a", /no name/],
    ["a stray percent sign", "message=100%&user_id=a", /percent/],
    ["bytes that are not UTF-8", "message=%FF&user_id=a", /UTF-8/],
    ["a NUL", "message=a%00b&user_id=a", /message.*NUL/],
    ["too many fields", Array.from({ length: 40 }, (_, index) => `f${index}=x`).join("&"), /32 fields/],
    ["a name of the language's own", "__proto__=x&message=Hello", /user_id/],
  ])("with %s is refused", async (_, body, message) => {
    const response = await postForm(body, { "content-type": FORM_TYPE, "x-recollect-request": "1" });
    expect(await errorOf(response)).toMatchObject({ status: 400, code: "BAD_USER_INPUT", message });
  });

  test("with a file is refused", async () => {
    const multipart = new FormData();
    multipart.set("message", "Hello");
    multipart.set("user_id", "a");
    multipart.set("files", new Blob([new Uint8Array([0xff, 0, 1])]), "picture.png");
    expect(await errorOf(await postForm(multipart))).toMatchObject({ status: 400, message: /Files are not taken/ });
  });

  test("larger than a JSON body may be is refused", async () => {
    const multipart = new FormData();
    multipart.set("message", "x".repeat(256 * 1024));
    expect(await errorOf(await postForm(multipart))).toMatchObject({ status: 413, code: "PAYLOAD_TOO_LARGE" });
  });

  test("cut off anywhere, or malformed, is refused and hurts nobody", async () => {
    const part = (name: string, value: string): string => `--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
    const whole = `${part("message", "Hello")}${part("user_id", "rest-cut")}--b--`;
    const headers = { "content-type": "multipart/form-data; boundary=b", "x-recollect-request": "1" };
    const bodies = Array.from({ length: whole.length - 1 }, (_, length) => whole.slice(0, length));
    for (const body of [...bodies, "nonsense", whole.replaceAll("--b", "--c")]) {
      expect(await errorOf(await postForm(body, headers)), body).toMatchObject({ status: 400, code: "BAD_USER_INPUT" });
    }
    expect(await errorOf(await postForm(whole, { ...headers, "content-type": "multipart/form-data" }))).toMatchObject({ status: 400 });
    expect((await postForm(whole, headers)).status).toBe(200);
  });
});

describe("a list of memories", () => {
  const list = async (query: string) => fetch(`${server.url}/v1/agents/rag-agent/memories?${query}`);

  test("comes in pages, and by topic", async () => {
    for (let index = 0; index < 5; index++) {
      const input = { userId: "rest-list", memory: `User owns boat number ${index}`, topics: index % 2 ? ["boats", "odd"] : ["boats"] };
      await server.data("AddMemory", { input });
    }
    const all = (await (await list("user_id=rest-list")).json()) as { memory_id: string; memory: string }[];
    expect(all).toHaveLength(5);
    const pages = await Promise.all(
      [1, 2, 3, 4].map(async (page) => (await list(`user_id=rest-list&limit=2&page=${page}`)).json() as Promise<unknown[]>),
    );
    expect(pages.map((page) => page.length)).toEqual([2, 2, 1, 0]);
    expect(pages.flat()).toEqual(all);
    const odd = (await (await list("user_id=rest-list&topic=%20ODD%20")).json()) as { topics: string[] }[];
    expect(odd.map((memory) => memory.topics)).toEqual([
      ["boats", "odd"],
      ["boats", "odd"],
    ]);
    expect(await (await list("user_id=rest-list&topic=nothing")).json()).toEqual([]);
  });

  test.each([
    ["limit=0", /limit.*1 to 100/],
    ["limit=101", /limit.*1 to 100/],
    ["limit=-1", /limit/],
    ["limit=1.5", /limit/],
    ["limit=", /limit/],
    ["page=0", /page.*1 to 100/],
    ["page=101", /page/],
    ["page=two", /page/],
    ["topic=a%00b", /topic.*NUL/],
  ])("with %s is refused", async (query, message) => {
    expect(await errorOf(await list(`user_id=a&${query}`))).toMatchObject({ status: 400, code: "BAD_USER_INPUT", message });
  });

  test("is read with GET, and a run is sent with POST", async () => {
    const wrong = await fetch(`${server.url}/v1/agents/rag-agent/memories?user_id=a`, { method: "POST" });
    expect(wrong.headers.get("allow")).toBe("GET");
    expect(await errorOf(wrong)).toMatchObject({ status: 405 });
    expect(await errorOf(await fetch(`${server.url}/v1/agents/rag-agent/run`))).toMatchObject({ status: 405 });
  });
});
