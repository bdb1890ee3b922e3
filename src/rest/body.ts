/** The body of a REST request: JSON, or a form with text fields. */

import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { Busboy, type BusboyHeaders } from "@fastify/busboy";
import { AppError, badInput } from "../errors.ts";
import { HttpError, MAX_BODY_BYTES, mediaType, readBody, readJson } from "../http.ts";

const URL_ENCODED = "application/x-www-form-urlencoded";
const MULTIPART = "multipart/form-data";
/** Fields of a form, more than any of our routes reads. */
const MAX_FIELDS = 32;
/** The parser works on what is in memory: it is done at once, or it is stuck (ms). */
const PARSE_TIMEOUT = 5_000;

export interface RequestBody {
  /** True when every value is text, because it came in a form. */
  form: boolean;
  value: unknown;
}

/**
 * Reads a body of at most 256 KB. Throws PAYLOAD_TOO_LARGE, BAD_USER_INPUT for one that cannot be read, and FORBIDDEN for
 * a form without a header that browsers add to no form by themselves.
 */
export async function readRequestBody(request: IncomingMessage): Promise<RequestBody> {
  switch (mediaType(request)) {
    case "application/json":
      return { form: false, value: await readJson(request) };
    case URL_ENCODED:
      requireOwnHeader(request);
      return { form: true, value: fieldsOf(parseUrlEncoded(await readBody(request))) };
    case MULTIPART:
      requireOwnHeader(request);
      return { form: true, value: fieldsOf(await parseMultipart(await readBody(request), request.headers["content-type"] ?? "")) };
    default:
      throw new HttpError(
        415,
        "BAD_USER_INPUT",
        `The body must be JSON or a form. Send the header content-type: application/json, ${URL_ENCODED} or ${MULTIPART}.`,
      );
  }
}

/** Any web page may have its visitor's browser send a form to this server; such a form cannot carry these headers. */
function requireOwnHeader({ headers }: IncomingMessage): void {
  if (headers.authorization === undefined && headers["x-recollect-request"] === undefined) {
    throw new HttpError(
      403,
      "FORBIDDEN",
      "A form is taken only with the header x-recollect-request: true, or with Authorization: it shows that no foreign web page sent it. JSON needs neither.",
    );
  }
}

type Field = [name: string, value: string];

function parseUrlEncoded(body: Buffer): Field[] {
  const pairs = decodeUtf8(body).split("&");
  return pairs
    .filter((pair) => pair !== "")
    .map((pair) => {
      const [name = "", ...value] = pair.split("=");
      return [decodeComponent(name), decodeComponent(value.join("="))];
    });
}

function decodeComponent(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch (error) {
    const message = "The form's percent signs do not stand for UTF-8. Encode its values; with curl use --data-urlencode.";
    throw new AppError("BAD_USER_INPUT", message, { cause: error });
  }
}

async function parseMultipart(body: Buffer, contentType: string): Promise<Field[]> {
  const fields: Field[] = [];
  const faults: AppError[] = [];
  try {
    const headers: BusboyHeaders = { "content-type": contentType };
    const parser = new Busboy({ headers, limits: { fieldSize: MAX_BODY_BYTES, fields: MAX_FIELDS, parts: MAX_FIELDS, files: 0 } });
    const parsed = once(parser, "finish", { signal: AbortSignal.timeout(PARSE_TIMEOUT) });
    parser.on("field", (name: string | undefined, value) => {
      fields.push([name ?? "", value]);
    });
    parser.on("filesLimit", () => faults.push(new AppError("BAD_USER_INPUT", "Files are not taken here. Send text fields only.")));
    parser.on("partsLimit", () => faults.push(tooManyFields()));
    parser.end(body);
    await parsed;
  } catch (error) {
    const message =
      "The body is not a valid multipart form. Check that the boundary of content-type is the one in the body, which must end with it.";
    throw new AppError("BAD_USER_INPUT", message, { cause: error });
  }
  const [fault] = faults;
  if (fault) {
    throw fault;
  }
  decodeUtf8(body);
  return fields;
}

function decodeUtf8(body: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch (error) {
    throw new AppError("BAD_USER_INPUT", "The form is not valid UTF-8. Send it in this encoding.", { cause: error });
  }
}

function fieldsOf(fields: Field[]): Record<string, string> {
  if (fields.length > MAX_FIELDS) {
    throw tooManyFields();
  }
  const found = new Map<string, string>();
  for (const [name, value] of fields) {
    if (name === "") {
      throw new AppError("BAD_USER_INPUT", "A field of the form has no name. Name every field.");
    }
    if (found.has(name)) {
      throw badInput(name, "is in the form twice. Send it once.");
    }
    found.set(name, value);
  }
  return Object.fromEntries(found);
}

function tooManyFields(): AppError {
  return new AppError("BAD_USER_INPUT", `The form has more than ${MAX_FIELDS} fields. Send those that the route reads.`);
}
