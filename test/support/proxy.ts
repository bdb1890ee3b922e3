/** A TCP proxy that misbehaves as networks do. */

import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * - pass: everything gets through; connections that were in a black hole stay there.
 * - black-hole: connections are accepted and stay open, and nothing gets through, now or later.
 * - half-open: what is connected now is in a black hole, what connects later gets through.
 */
export type ProxyMode = "pass" | "black-hole" | "half-open";

/** The two ends of one connection. */
interface Pair {
  client: Socket;
  server: Socket;
  silent: boolean;
  /** How many bytes of the server's still get through before the connection is cut. */
  left: number;
}

export class TcpProxy {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #target: { host: string; port: number };
  #mode: ProxyMode = "pass";
  #delay = 0;
  #cuts: number[] = [];

  private constructor(target: { host: string; port: number }) {
    this.#target = target;
    this.#server = createServer((socket) => this.#join(socket));
  }

  static async start(host: string, port: number): Promise<TcpProxy> {
    const proxy = new TcpProxy({ host, port });
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `delay`: milliseconds by which everything that gets through is late. */
  set(mode: ProxyMode, delay = 0): void {
    this.#mode = mode;
    this.#delay = delay;
    if (mode !== "pass") {
      for (const pair of this.#pairs) {
        pair.silent = true;
      }
    }
  }

  /** The next connections, one each, are cut once so many bytes of the server's have got through. */
  cutAfter(...bytes: number[]): void {
    this.#cuts.push(...bytes);
  }

  /** Resets every connection there is. */
  cut(): void {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  #join(client: Socket): void {
    const server = connect(this.#target);
    const pair: Pair = { client, server, silent: this.#mode === "black-hole", left: this.#cuts.shift() ?? Number.POSITIVE_INFINITY };
    this.#pairs.add(pair);
    this.#forward(pair, client, server, (data) => data);
    this.#forward(pair, server, client, (data) => upToCut(pair, data));
  }

  #forward(pair: Pair, from: Socket, to: Socket, take: (data: Buffer) => Buffer): void {
    from.setNoDelay(true);
    from.on("data", (data) =>
      this.#late(pair, () => {
        // One side is read at the pace of the other.
        if (!to.destroyed && !to.write(take(data))) {
          from.pause();
        }
      }),
    );
    to.on("drain", () => from.resume());
    from.on("end", () => this.#late(pair, () => to.end()));
    // In a black hole the end of one side is not seen by the other.
    from.on("error", () => undefined);
    from.on("close", () => {
      this.#late(pair, () => to.destroySoon());
      if (pair.client.destroyed && pair.server.destroyed) {
        this.#pairs.delete(pair);
      }
    });
  }

  #late(pair: Pair, deliver: () => void): void {
    const unlessSilent = (): void => {
      if (!pair.silent) {
        deliver();
      }
    };
    if (this.#delay > 0) {
      setTimeout(unlessSilent, this.#delay);
    } else {
      unlessSilent();
    }
  }
}

/** What still gets through; with the last of it the connection is cut. */
function upToCut(pair: Pair, data: Buffer): Buffer {
  const through = data.subarray(0, pair.left);
  pair.left -= through.length;
  if (pair.left === 0) {
    process.nextTick(() => {
      pair.client.destroySoon();
      pair.server.resetAndDestroy();
    });
  }
  return through;
}
