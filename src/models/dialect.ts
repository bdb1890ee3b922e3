import type { StructuredOutput } from "../agent/ports.ts";
import { OPTIONAL_FIELDS, type OptionalField } from "./model-fault.ts";

/** What was learned about a model and its server by asking; kept for as long as the process lives. */
export class Dialect {
  readonly #refused = new Set<OptionalField>();
  /** Whether replies begin inside a think block which the prompt template opened; null before the first reply. */
  opensThinking: boolean | null = null;
  /** How its last readable answer in JSON was asked for; null before the first. */
  structuredOutput: StructuredOutput | null = null;

  accepts(field: OptionalField): boolean {
    return !this.#refused.has(field);
  }

  /** Remembers refused fields. True when one of `sent` is new among them: without it the request may pass. */
  learn(refused: readonly OptionalField[], sent: readonly OptionalField[]): boolean {
    const fresh = refused.filter((field) => sent.includes(field) && this.accepts(field));
    for (const field of fresh) {
      this.#refused.add(field);
    }
    return fresh.length > 0;
  }

  /** The fields that were refused, for the log. */
  refused(): OptionalField[] {
    return OPTIONAL_FIELDS.filter((field) => !this.accepts(field));
  }
}

/** The dialects of one server, by model. */
export class Dialects {
  readonly #byModel = new Map<string, Dialect>();

  of(model: string): Dialect {
    const dialect = this.#byModel.get(model) ?? new Dialect();
    this.#byModel.set(model, dialect);
    return dialect;
  }
}
