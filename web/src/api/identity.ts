/** Who uses this page, kept in its tab of the browser: another tab may be somebody else. */

export interface Identity {
  /** The name to act for; null when the token names it. */
  userId: string | null;
  /** Null where the server asks for none. The same that the playground uses. */
  token: string | null;
}

const USER = "recollect:user";
const TOKEN = "recollect:token";

/** Null while nobody has said who they are. */
export function readIdentity(): Identity | null {
  const userId = sessionStorage.getItem(USER);
  const token = sessionStorage.getItem(TOKEN);
  return userId === null && token === null ? null : { userId, token };
}

export function keepIdentity(identity: Identity | null): void {
  keep(USER, identity?.userId ?? null);
  keep(TOKEN, identity?.token ?? null);
}

/** What the headers and the first message of a socket say about who is asking; null when nothing. */
export function credentialOf({ token }: Identity): string | null {
  return token === null ? null : `Bearer ${token}`;
}

/** Tells users of this tab apart, so that nothing of one is sent for another: also by what a JSON Web Token says of its subject. */
export function ownerOf({ userId, token }: Identity): string {
  return JSON.stringify([userId, token && (subjectOf(token) ?? token.slice(-8))]);
}

function subjectOf(token: string): string | null {
  try {
    const claims = atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/"));
    const { iss = "", sub } = JSON.parse(claims) as { iss?: string; sub?: string };
    return sub === undefined ? null : `${iss} ${sub}`;
  } catch {
    return null;
  }
}

function keep(name: string, value: string | null): void {
  if (value === null) {
    sessionStorage.removeItem(name);
  } else {
    sessionStorage.setItem(name, value);
  }
}
