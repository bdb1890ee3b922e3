import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MAX_LINE_BYTES, readEvents } from "../src/models/event-stream.ts";

/** The bytes as a body that comes in pieces of these lengths, then as a whole. */
function bodyOf(bytes: Uint8Array, lengths: number[] = []): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      let at = 0;
      for (const length of [...lengths, bytes.length]) {
        if (at < bytes.length) {
          controller.enqueue(bytes.slice(at, at + length));
          at += length;
        }
      }
      controller.close();
    },
  });
}

async function readAll(body: ReadableStream<Uint8Array>): Promise<unknown[]> {
  const events: unknown[] = [];
  for await (const event of readEvents(body)) {
    events.push(event);
  }
  return events;
}

function read(text: string, lengths?: number[]): Promise<unknown[]> {
  return readAll(bodyOf(new TextEncoder().encode(text), lengths));
}

describe("a model server's stream", () => {
  test("gives the same events wherever its bytes are cut, whatever its lines end with", async () => {
    const value = fc.oneof(fc.string({ unit: "binary" }), fc.integer(), fc.record({ delta: fc.string({ unit: "grapheme" }) }));
    const property = fc.asyncProperty(
      fc.array(value, { maxLength: 6 }),
      fc.constantFrom("\n", "\r\n", "\r"),
      fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 60 }),
      async (events, end, lengths) => {
        const text = events.map((event) => `event: message${end}data: ${JSON.stringify(event)}${end}${end}: a comment${end}`).join("");
        expect(await read(`${text}data: [DONE]${end}${end}`, lengths)).toEqual(events);
      },
    );
    await fc.assert(property);
  });

  test("may join lines of data, leave the space out, and end without its last empty line", async () => {
    expect(await read('data:{"a":\ndata:1}\n\ndata: 2')).toEqual([{ a: 1 }, 2]);
  });

  test("that ends within an event ends before it", async () => {
    expect(await read('data: {"a": 1}\n\ndata: {"a": ')).toEqual([{ a: 1 }]);
  });

  test("with something else than JSON throws", async () => {
    await expect(read("data: hello\n\n")).rejects.toThrow(SyntaxError);
  });

  test("with a line that has no end is given up", async () => {
    const piece = new Uint8Array(1024 * 1024).fill(97);
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += piece.length;
        controller.enqueue(piece);
      },
    });
    await expect(readAll(endless)).rejects.toMatchObject({ code: "MODEL_BAD_RESPONSE" });
    expect(sent).toBeLessThan(2 * MAX_LINE_BYTES);
  });

  test("that is left early is let go of", async () => {
    let cancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode("data: 1\n\n")),
      cancel: () => {
        cancelled = true;
      },
    });
    for await (const event of readEvents(endless)) {
      expect(event).toBe(1);
      break;
    }
    expect(cancelled).toBe(true);
  });
});
