import type { ChatMessage } from "./ports.ts";
import type { TokenUsage } from "./types.ts";

/** What a prompt template adds around a message, in tokens. */
const PER_MESSAGE = 4;

/**
 * About how many tokens a model makes of a text. Counted in quarters: four ASCII characters are a token, two characters
 * of other alphabets, one Chinese, Japanese or Korean one. Good to some 20 %, and it errs upwards, which is what budgets need.
 */
export function estimateTokens(text: string): number {
  let quarters = 0;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    quarters += unit < 0x80 ? 1 : isEastAsian(unit) ? 4 : 2;
  }
  return Math.ceil(quarters / 4);
}

/** The usage of a request whose server did not count. `output` is everything the model wrote, its reasoning included. */
export function estimateUsage(messages: readonly ChatMessage[], output: string): TokenUsage {
  const inputTokens = messages.reduce((sum, message) => sum + estimateTokens(message.content) + PER_MESSAGE, 0);
  return { inputTokens, outputTokens: estimateTokens(output), estimated: true };
}

function isEastAsian(unit: number): boolean {
  return (
    (unit >= 0x2e80 && unit <= 0x9fff) ||
    (unit >= 0xac00 && unit <= 0xd7af) ||
    (unit >= 0xf900 && unit <= 0xfaff) ||
    (unit >= 0xff00 && unit <= 0xffef)
  );
}
