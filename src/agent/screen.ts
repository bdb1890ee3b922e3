/** What must not become a memory, however well it is quoted: secrets, and orders to the agent dressed up as facts. */

/** True when a text holds a key, a password, a card number or the like. */
export function holdsSecret(text: string): boolean {
  return redactSecrets(text) !== text;
}

/** The text with each secret replaced by "[secret]". */
export function redactSecrets(text: string): string {
  const redacted = SECRETS.reduce((rest, pattern) => rest.replace(pattern, "[secret]"), text);
  return redacted.replace(CARD_NUMBER, (digits) => (isCardNumber(digits) ? "[secret]" : digits));
}

/** True when a fact, or the words it rests on, tell the agent what to do: to ignore its rules, to reveal, always to say something, to call or open something. */
export function readsLikeAnOrder(text: string, quote: string): boolean {
  return [text, quote].some((part) => {
    const plain = part
      .normalize("NFKC")
      .replace(/\p{Default_Ignorable_Code_Point}/gu, "")
      .replace(/\s+/g, " ");
    return ORDERS.some((order) => order.test(plain));
  });
}

/** Words a secret is introduced by, and what stands between them and it. */
const NAMED =
  "pass ?(?:word|phrase|code)|passwd|pwd|secret key|api[ _-]?(?:key|token)|access[ _-]?token|private key|(?:recovery|seed) (?:code|phrase)|passwort|kennwort|contraseña|mot de passe";
const LEAD = "(?: (?:for|to|of|on) [\\w' ]{1,30}?)?(?: ?(?:is|was|are|ist|es|est|:|=)) ?";
/** "My password is too long" tells no secret. */
const NO_VALUE =
  "too|very|not|so|a|an|the|really|quite|long|short|weak|strong|hard|easy|lost|forgotten|wrong|expired|secure|safe|stored|saved|always|never|in|on|at|my|your|different|same|unique|known|required|something|nothing";

const SECRETS = [
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /\b(?:sk|pk|rk)[-_](?:[a-z]+[-_])*[A-Za-z0-9_-]{16,}/g,
  /\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,})/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g,
  /\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@]+:[^\s/@]+@/gi,
  new RegExp(`\\b(?:${NAMED})${LEAD}["'\`]?(?!(?:${NO_VALUE})\\b)[^\\s"'\`]{3,}`, "gi"),
  /\b(?:pin(?: ?(?:code|number))?|cvv|cvc|tan)(?: (?:for|to|of|on) [\w' ]{1,30}?)?(?: ?(?:is|was|:|=)) ?["'`]?\d{3,}/gi,
  /\b\d{3}-\d{2}-\d{4}\b/g,
  // Long runs of mixed letters and digits are keys of some kind.
  /\b(?=[A-Za-z0-9_]*[a-z])(?=[A-Za-z0-9_]*[A-Z])(?=[A-Za-z0-9_]*\d)[A-Za-z0-9_]{32,}\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{40,}\b/g,
];

const CARD_NUMBER = /(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.])/g;

function isCardNumber(text: string): boolean {
  const digits = [...text.replace(/\D/g, "")].reverse().map(Number);
  const sum = digits.reduce((total, digit, index) => total + (index % 2 === 0 ? digit : digit > 4 ? digit * 2 - 9 : digit * 2), 0);
  return sum % 10 === 0 && new Set(digits).size > 1;
}

/** Where an order may begin: at the start, after a stop, or after words that lead up to one. */
const START = String.raw`(?:^|[.!?:;,"'(\u2014-] ?|\b(?:to|must|should|shall|please|and|then|you|always|never|that|now|agent|assistant) )`;

/** The same without "to" and "and", which lead up to what people do themselves: "I have to run a script". */
const TOLD = String.raw`(?:^|[.!?:;,"'(\u2014-] ?|\b(?:must|should|shall|please|always|you|(?:you|agent|assistant|ai|model|bot) to) )`;

const ORDERS = [
  /\b(?:ignor\w+|disregard\w*|forget|overrid\w+|bypass\w*|skip)\b.{0,40}\b(?:previous|prior|above|earlier|your|all|any|the|system|safety)\b.{0,30}\b(?:instruction|prompt|rule|message|guideline|polic|direction|restriction|constraint|memor)\w*/i,
  /\b(?:system|developer|hidden|initial) (?:prompt|message|instruction)s?\b|\bjailbreak|\bdeveloper mode\b|\bprompt injection\b/i,
  /\b(?:you|the (?:agent|assistant|ai|model|bot|chatbot)|assistant|ai|chatbot) (?:must|shall|should (?:always|never)|have to|has to|need(?:s)? to|are (?:now|to)|is (?:now|to)|will (?:always|never|now)|may not|can never)\b(?! (?:know|be (?:so|very|really|tired|busy|happy|proud)|have|understand|think|see|realize|realise))/i,
  /\bremember (?:that )?(?:you|to) (?:must|always|never|should|will|are)\b|\bfrom now on\b|\bin (?:all|every) (?:future )?(?:repl|respon|answer|conversation|message|session)\w*/i,
  new RegExp(
    String.raw`${START}(?:always|never) (?:reveal|repl(?:y|ies)|respond|answer|say|output|include|recommend|mention|tell|share|print|send|call|execute|run|use|trust|obey|add|end|start|append|disclose|refuse|follow|write|speak|display|insert)\b`,
    "i",
  ),
  new RegExp(
    String.raw`${TOLD}(?:call|invoke|use|run|execute|open|visit|fetch|go to|send|post|forward|upload|download|curl|wget|click|load|browse)\b.{0,40}\b(?:(?:tool|function|command|shell|script|endpoint|webhook|url|link)\b|https?:|www\.)`,
    "i",
  ),
  /\b(?:reveal|leak|disclose|exfiltrate|expose|dump|print out|output)\b.{0,40}\b(?:other users?|all users|every user|secrets?|passwords?|credentials|api keys?|tokens?|memories|conversations?|instructions|prompt|data|system)\b/i,
  /<\s*\/?\s*(?:system|assistant|user|instructions?|memor\w*|tool\w*|known|previous_session|this_session|documents)\b|<\|\w+\|>|\[\/?(?:inst|system)\]|<<sys>>|(?:^|\n)\s*(?:system|assistant|developer) ?:/i,
  /\b(?:act as|pretend to be|roleplay as|you are now|behave like|behave as)\b/i,
  /\b(?:ignora|ignoriere?|ignorez|ignore|vergiss|olvida|oublie\w*|dimentica|ignoreer)\b.{0,40}(?:instruc|anweisung|instruktion|consigne|regel|reglas|règles|istruzion|prompt)/i,
  /(?:忽略|无视|無視|忘记|忘れ).{0,15}(?:指令|指示|规则|規則|提示|ルール|命令)|(?:指令|指示|规则|規則|提示|ルール|命令).{0,10}(?:忽略|无视|無視|忘记|忘れ)|(?:игнорируй|забудь).{0,30}(?:инструкц|указани|правил)/i,
];
