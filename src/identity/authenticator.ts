import type { Log } from "../agent/ports.ts";
import { AppError } from "../errors.ts";
import { type ApiKeyStore, ApiKeys, isApiKey } from "./api-keys.ts";
import type { Access, Authenticator } from "./identity.ts";
import { createWebTokens, type WebTokenSettings } from "./web-tokens.ts";

/** Which tokens are taken. Neither: the server serves its own machine only, and asks for none. */
export interface AuthenticationSettings {
  keys: boolean;
  /** Null: no JSON Web Tokens. */
  webTokens: WebTokenSettings | null;
}

/** Longer ones are no tokens. */
const LONGEST_CREDENTIAL = 8_192;
const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i;

export function createAuthenticator({ keys, webTokens }: AuthenticationSettings, store: ApiKeyStore, log: Log): Authenticator {
  const apiKeys = keys ? new ApiKeys(store, log) : null;
  const readWebToken = webTokens && createWebTokens(webTokens);
  if (!apiKeys && !readWebToken) {
    return { required: false, identify: async () => ANONYMOUS, close: () => undefined };
  }
  return {
    required: true,
    async identify(credential) {
      const token = tokenIn(credential);
      if (isApiKey(token) && apiKeys) {
        return apiKeys.identify(token);
      }
      if (!readWebToken) {
        throw new AppError("UNAUTHENTICATED", "This token is no key of this server. Get one from whoever runs it.");
      }
      return readWebToken(token);
    },
    close: () => apiKeys?.close(),
  };
}

const ANONYMOUS: Access = { identity: { kind: "anonymous" }, watch: () => () => undefined };

/** Throws UNAUTHENTICATED. */
function tokenIn(credential: string | null): string {
  if (credential === null) {
    const message = "A token is missing. Send Authorization: Bearer <token>; over WebSocket in the payload of connection_init.";
    throw new AppError("UNAUTHENTICATED", message);
  }
  const token = credential.length <= LONGEST_CREDENTIAL ? BEARER.exec(credential.trim())?.[1] : undefined;
  if (token === undefined) {
    throw new AppError("UNAUTHENTICATED", "Authorization is no bearer token. Send: Authorization: Bearer <token>");
  }
  return token;
}
