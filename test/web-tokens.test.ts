/** JSON Web Tokens: only what their signer said, to this server, and only while it is true. */

import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, exportPKCS8, exportSPKI, generateKeyPair, importPKCS8, type JWTPayload, SignJWT, UnsecuredJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bearer, makeKey } from "./support/keys.ts";
import { openConnection, openSocket } from "./support/raw-socket.ts";
import { type GraphQLAnswer, postGraphQL, startTestServer, type TestServer } from "./support/server.ts";

const NOTE = "mutation ($input: AddMemoryInput!) { addMemory(input: $input) { memory { memoryId } } }";
const TOPICS = "query ($userId: ID) { memoryTopics(userId: $userId) { topic } }";

const codeOf = (answer: GraphQLAnswer) => answer.errors?.[0]?.extensions.code;

const ISSUER = "https://login.example/";
const AUDIENCE = "recollect";
let server: TestServer;
let issuer: Server;
let fetched = 0;
let away = false;
let keys: Awaited<ReturnType<typeof generateKeyPair>>;
let strangers: typeof keys;

beforeAll(async () => {
  keys = await generateKeyPair("RS256", { extractable: true });
  strangers = await generateKeyPair("RS256");
  const published = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: "one" }] };
  issuer = createServer((_, response) => {
    fetched++;
    response.writeHead(away ? 503 : 200, { "content-type": "application/json" }).end(JSON.stringify(published));
  }).listen(0, "127.0.0.1");
  await once(issuer, "listening");
  const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/keys`;
  server = await startTestServer({
    env: {
      AUTH: "jwt",
      JWT_JWKS_URL: url,
      JWT_ISSUER: ISSUER,
      JWT_AUDIENCE: AUDIENCE,
      JWT_ALGORITHMS: "RS256",
      JWT_CLOCK_TOLERANCE: "0",
    },
  });
});

afterAll(async () => {
  await server.close();
  issuer.close();
});

const now = () => Math.floor(Date.now() / 1_000);
const claims = (changes: JWTPayload = {}): JWTPayload => ({ sub: "ada", iss: ISSUER, aud: AUDIENCE, exp: now() + 600, ...changes });
const sign = (payload: JWTPayload, header: { kid?: string } = { kid: "one" }, by = keys) =>
  new SignJWT(payload).setProtectedHeader({ alg: "RS256", ...header }).sign(by.privateKey);
const ask = (token: string, userId: string | null = null) => postGraphQL(server.url, TOPICS, { userId }, bearer(token));
const forge = async (changes: JWTPayload) => {
  const [header, , signature] = (await sign(claims())).split(".");
  return [header, Buffer.from(JSON.stringify(claims(changes))).toString("base64url"), signature].join(".");
};

test("a good one acts for its subject", async () => {
  expect(await ask(await sign(claims()))).toEqual({ data: { memoryTopics: [] } });
  expect(codeOf(await ask(await sign(claims()), "bob"))).toBe("FORBIDDEN");
  const service = await sign(claims({ scope: "openid recollect:service" }));
  expect(codeOf(await ask(service))).toBe("BAD_USER_INPUT");
  expect(await ask(service, "bob")).toEqual({ data: { memoryTopics: [] } });
  const admin = await sign(claims({ scope: "recollect:admin", sub: "root" }));
  expect((await postGraphQL(server.url, "Doctor", {}, bearer(admin))).data.serverStatus.queue).not.toBeNull();
  const unrelated = await sign(claims({ scope: "admin service recollect:administrator" }));
  expect(codeOf(await ask(unrelated, "bob"))).toBe("FORBIDDEN");
});

test.each<[string, () => Promise<string> | string]>([
  ["not signed", () => new UnsecuredJWT(claims()).encode()],
  [
    "not signed, in other letters",
    () => `${Buffer.from('{"alg":"nOnE"}').toString("base64url")}.${Buffer.from(JSON.stringify(claims())).toString("base64url")}.`,
  ],
  [
    "signed with the public key taken for a secret",
    async () =>
      new SignJWT(claims())
        .setProtectedHeader({ alg: "HS256", kid: "one" })
        .sign(new TextEncoder().encode(await exportSPKI(keys.publicKey))),
  ],
  ["signed by somebody else", () => sign(claims(), { kid: "one" }, strangers)],
  ["signed by a key nobody published", () => sign(claims(), { kid: "two" }, strangers)],
  [
    "with an algorithm that is not on the list",
    async () =>
      new SignJWT(claims())
        .setProtectedHeader({ alg: "PS256", kid: "one" })
        .sign(await importPKCS8(await exportPKCS8(keys.privateKey), "PS256")),
  ],
  ["with its subject changed", () => forge({ sub: "bob" })],
  ["with a scope added", () => forge({ scope: "recollect:admin" })],
  ["of another issuer", () => sign(claims({ iss: "https://evil.example/" }))],
  ["for another server", () => sign(claims({ aud: "mail" }))],
  ["expired", () => sign(claims({ exp: now() - 5 }))],
  ["without an end", () => sign({ sub: "ada", iss: ISSUER, aud: AUDIENCE })],
  ["not good yet", () => sign(claims({ nbf: now() + 60 }))],
  ["without a subject", () => sign({ iss: ISSUER, aud: AUDIENCE, exp: now() + 60 })],
  ["with an empty subject", () => sign(claims({ sub: "" }))],
  ["with a subject that no row can have", () => sign(claims({ sub: "a\0b" }))],
  [
    "with a key of its own in the header",
    async () => {
      const jwk = await exportJWK((await generateKeyPair("RS256", { extractable: true })).publicKey);
      return new SignJWT(claims()).setProtectedHeader({ alg: "RS256", jwk }).sign(strangers.privateKey);
    },
  ],
  ["a key of this server's kind", () => `rk_${"0".repeat(16)}_${"A".repeat(43)}`],
])("refused: %s", async (_, make) => {
  const token = await make();
  expect(codeOf(await ask(token))).toBe("UNAUTHENTICATED");
  const connection = await openSocket(server.url);
  connection.send({ type: "connection_init", payload: { ...bearer(token), sub: "ada" } });
  expect((await connection.closed).code).toBe(4403);
});

test("the signer's keys are fetched once, and not for every token of an unknown key", async () => {
  await ask(await sign(claims()));
  const before = fetched;
  for (let count = 0; count < 20; count++) {
    await ask(await sign(claims()));
    await ask(await sign(claims(), { kid: `unknown-${count}` }));
  }
  expect(fetched).toBe(before);
});

test("a token that expires closes its sockets with 4403", async () => {
  const connection = await openConnection(server.url, bearer(await sign(claims({ exp: now() + 2 }))));
  connection.send({ id: "1", type: "subscribe", payload: { query: "subscription { memoryEvents { id } }" } });
  expect(await connection.closed).toEqual({ code: 4403, reason: "This token has expired. Get a new one." });
});

test("while the signer's keys cannot be had nobody is let in, and nobody is told that the token is wrong", async () => {
  away = true;
  const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/keys`;
  const env = { AUTH: "keys,jwt", JWT_JWKS_URL: url, JWT_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE };
  const other = await startTestServer({ model: server.model, env });
  const token = await sign(claims());
  expect(codeOf(await postGraphQL(other.url, TOPICS, {}, bearer(token)))).toBe("SERVICE_UNAVAILABLE");
  const connection = await openSocket(other.url);
  connection.send({ type: "connection_init", payload: bearer(token) });
  expect((await connection.closed).code).toBe(1013);
  // Keys of its own are none of the signer's business.
  const key = await makeKey(other.context.database, { user: "ada" });
  expect(await postGraphQL(other.url, TOPICS, {}, bearer(key.token))).toEqual({ data: { memoryTopics: [] } });
  away = false;
  await other.close();
});

test("a secret or one public key serve as well, each for its own algorithms", async () => {
  const secret = "a secret of at least thirty-two bytes";
  const shared = { JWT_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE };
  const bySecret = await startTestServer({
    model: server.model,
    env: { AUTH: "jwt", JWT_SECRET: secret, JWT_SUBJECT_CLAIM: "email", ...shared },
  });
  const signed = (payload: JWTPayload) => new SignJWT(payload).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(secret));
  expect(
    (await postGraphQL(bySecret.url, NOTE, { input: { memory: "User likes plums" } }, bearer(await signed(claims({ email: "ada@x" })))))
      .errors,
  ).toBeUndefined();
  expect(codeOf(await postGraphQL(bySecret.url, TOPICS, {}, bearer(await signed(claims()))))).toBe("UNAUTHENTICATED");
  expect(codeOf(await postGraphQL(bySecret.url, TOPICS, {}, bearer(await sign(claims({ email: "ada@x" })))))).toBe("UNAUTHENTICATED");
  await bySecret.close();

  const pem = (await exportSPKI(keys.publicKey)).replaceAll("\n", "\\n");
  const byKey = await startTestServer({ model: server.model, env: { AUTH: "jwt", JWT_PUBLIC_KEY: pem, ...shared } });
  expect((await postGraphQL(byKey.url, TOPICS, {}, bearer(await sign(claims())))).errors).toBeUndefined();
  expect(codeOf(await postGraphQL(byKey.url, TOPICS, {}, bearer(await signed(claims()))))).toBe("UNAUTHENTICATED");
  await byKey.close();
});
