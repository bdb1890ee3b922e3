/**
 * Decides without a model whether a message may hold a lasting fact. Every rule spares a call only where it is sure:
 * English phrases it knows, greetings in a few languages, code. Anything else is worth a call.
 */

/** False for greetings and thanks, questions that state nothing, plain requests, remarks on what was just said, and code or logs alone. */
export function worthExtracting(message: string): boolean {
  return sentences(normal(withoutCode(message).replace(/\b(?:https?:\/\/|www\.)\S+/gi, " "))).some(mayHoldFact);
}

/** Whether a question also states something: "my daughter turns seven, what shall I bake?" True for longer ones that are not English. */
export function questionStates(question: string): boolean {
  return questionMayHoldFact(normal(question));
}

/** What is left of a message without fenced code, lines of code and logs: the user's own words. */
export function withoutCode(message: string): string {
  return message
    .replace(/(```|~~~)[\s\S]*?(?:\1|$)/g, "\n")
    .split("\n")
    .filter((line) => line.length > MAX_LINE || !CODE_LINE.test(line))
    .join("\n");
}

function normal(text: string): string {
  return text.normalize("NFKC").replace(/[’‘`]/g, "'").toLowerCase();
}

function sentences(prose: string): string[] {
  return prose
    .split(/(?<=[.!?…])\s+|(?<=[。！？])|\n+/u)
    .map((sentence) => sentence.trim())
    .filter((sentence) => /[\p{L}\p{N}]/u.test(sentence));
}

function mayHoldFact(sentence: string): boolean {
  if (sentence.length > MAX_SENTENCE) {
    return true;
  }
  return isQuestion(sentence) ? questionMayHoldFact(sentence) : statementMayHoldFact(sentence);
}

function isQuestion(sentence: string): boolean {
  return /[?？]["')\s]*$/.test(sentence) || ASKS.test(withoutOpening(sentence));
}

/** A question may be led up to by a statement ("we moved here, what should we see?") or hold one of its own. */
function questionMayHoldFact(sentence: string): boolean {
  const parts = sentence.split(/[,;:.!] *| - /);
  const asked = Math.max(
    parts.findIndex((part) => ASKS.test(withoutOpening(part))),
    0,
  );
  return parts.slice(0, asked).some(statementMayHoldFact) || statesInQuestion(withoutOpening(parts.slice(asked).join(" ")));
}

function statesInQuestion(question: string): boolean {
  if (!ENGLISH.test(question) && question.split(" ").length > 4) {
    return true;
  }
  return statesSomething(question) || (NAMES_OWN.test(question) && !ASKS_FOR_OWN.test(question));
}

/** Whether a question has a clause such as "I moved here", in the order of a statement. */
function statesSomething(question: string): boolean {
  const words = question.split(" ");
  return words.some((word, index) => SUBJECT.test(word) && index < words.length - 1 && !INVERSION.has(words[index - 1] ?? ""));
}

function statementMayHoldFact(sentence: string): boolean {
  const text = withoutOpening(sentence);
  if (text === "" || PLEASANTRY.test(text) || OFFER.test(text)) {
    return false;
  }
  const about = text.replace(SUPPOSITION, "");
  const said = about.replace(ASKS_FOR_ME, "$1");
  return FIRST_PERSON.test(said) || !(about !== text || REMARK.test(said) || REQUEST.test(said) || isExclamation(sentence, said));
}

/** Two or three words and an exclamation mark: "big accomplishment!" A single word may be an answer. */
function isExclamation(sentence: string, said: string): boolean {
  return /!["')\s]*$/.test(sentence) && /^\S+ \S+(?: \S+)?$/.test(said);
}

/** The words of a sentence in one line, without the greetings and interjections it begins with. */
function withoutOpening(sentence: string): string {
  const words = sentence.match(/[\p{L}\p{M}\p{N}]+(?:'[\p{L}]+)*/gu) ?? [];
  const start = words.findIndex((word) => !PHATIC.has(word) && !INTERJECTION.test(word));
  return start < 0 ? "" : words.slice(start).join(" ");
}

/** Longer lines are not tried for code, nor longer sentences for phrases, so that no message takes long. */
const MAX_LINE = 500;
const MAX_SENTENCE = 2_000;

/** A line of a program, a log, a stack trace, a diff or a shell session; never one that could be a sentence. */
const CODE_LINE = new RegExp(
  [
    String.raw`^\s*[{}()[\]<>]+[,;]?\s*$|(?:=|\w\().*;\s*$|[)>=]\s*\{\s*$`,
    String.raw`^\s*(?:export\s+)?(?:const|let|var)\s+[\w{[].*=|^\s*(?:async\s+)?(?:function|def|class|fn|func)\s+\w+\s*[({:<]`,
    String.raw`^\s*import\s.*['";]|^\s*from\s+\S+\s+import\s|^\s*#include\s*[<"]|^\s*return\b.*[;)\]}]\s*$`,
    String.raw`^\s*(?:SELECT\s.*FROM|INSERT INTO|UPDATE\s.*SET|DELETE FROM|CREATE (?:TABLE|INDEX))\b`,
    String.raw`^\s*at .+\(.*:\d+\)|^\s*File ".+", line \d+|^Traceback |^\s*[\w.]*(?:Error|Exception|Warning):`,
    String.raw`^\s*\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d|^\s*\[?(?:ERROR|WARN|INFO|DEBUG|TRACE|FATAL)\b`,
    String.raw`^\s*(?:\$|>>>|%) \w|^(?:\+\+\+|---) \w|^@@ |^\s*<\/?[a-zA-Z][^>]*>\s*$|^\s*"[\w-]+":`,
  ].join("|"),
);

const FIRST_PERSON = /\b(?:i|i'?[md]|i'?ve|i'?ll|im|my|me|mine|myself|we|we'?re|we'?ve|we'?ll|our|ours|us|ourselves)\b/;

const SUBJECT = /^(?:i|i'm|im|i've|ive|i'll|i'd|we|we're|we've|we'll|we'd)$/;

const INVERSION = new Set(
  (
    "do does did am are is was were have has had can could should shall would will may might must don't didn't can't couldn't " +
    "shouldn't won't wouldn't haven't hasn't aren't isn't wasn't how'd what'd"
  ).split(" "),
);

/** Beginnings of questions, with or without their mark. */
const ASKS = new RegExp(
  "^(?:and |but |so |or |then )*(?:" +
    "(?:who|what|where|when|why|which|whose|how)(?:'s|'re|'d)?\\b(?! (?:i|we|my|our|a|an|ever)\\b)|" +
    "(?:do|does|did|don't|are|is|isn't|aren't|was|were|have|has|can|could|would|will|should|any) (?:you|your|he|she|it|they|that|this|there|the|i|we)\\b|" +
    "(?:any|ever|you (?:have|like|got|do|come|live|still|ever|know))\\b(?=.{0,30}$)|(?:you|yours|yourself)(?: too)?$)",
);

const ENGLISH = /\b(?:the|an?|is|are|was|do|does|did|have|has|can|could|would|will|should|you|it|that|this|of|to|and|what|how)\b/;

const NAMES_OWN = /\b(?:my|mine|our|ours)\b/;

const ASKS_FOR_OWN =
  /^(?:and |so )?(?:who|what|where|when|which|how|do you (?:know|remember|recall)|can you (?:tell|remind)|could you (?:tell|remind)|tell me|remind me)\b.{0,40}\b(?:my|our) (?:\S+(?: |$)){1,3}$/;

/** Words that greet, thank, agree or wonder, and say nothing more. */
const PHATIC = new Set(
  (
    "hi hello hey heya hiya howdy yo greetings good morning evening afternoon night day bye goodbye cya later welcome " +
    "thanks thank thx ty u much many lots very so too again please pls ok okay k kk sure alright right fine cool nice great awesome " +
    "amazing wonderful fantastic excellent perfect lovely neat sweet wow whoa oh ooh ah aw aww oops hmm hm um uh well yes yeah yea yep yup " +
    "ya no nope nah not really true exactly indeed absolutely definitely totally agreed interesting funny lol lmao haha hahaha hehe ha omg " +
    "of course exactly understandable impressive beautiful gorgeous brilliant incredible terrible awful horrible crazy hilarious weird scary " +
    "sad bad luck job idea choice question point probably maybe perhaps possibly certainly surely anyway though exciting fascinating guys sorry cheers congrats congratulations there all a lot " +
    "hola gracias adios buenas buenos dias tardes noches hallo guten tag morgen abend danke bitte tschüss ja nein bonjour bonsoir salut merci " +
    "oui non ciao grazie buongiorno si sì olá obrigado obrigada sim não hoi dank je hej tack tak привет спасибо да нет здравствуйте " +
    "你好 您好 谢谢 好的 嗨 再见 こんにちは ありがとう はい いいえ おはよう 안녕 안녕하세요 감사합니다 네 مرحبا شكرا नमस्ते धन्यवाद"
  ).split(" "),
);

const INTERJECTION =
  /^(?:o+h*|a+h+|a+w+|h+m+|m+h*m+|u+h*m*|e+w+|u+gh+|wo+w+|ye+a+h*|yup+|yay+|lo+l|(?:a?ha|he|hi){2,}h?|gosh|omg|bummer|god|man|dude)$/;

/** Set phrases in the first person that tell nothing lasting, or nothing that could be quoted. */
const PLEASANTRY = new RegExp(
  "^(?:" +
    [
      "thank you|excuse me|me (?:too|neither|as well)|let me (?:know|see|think|tell you).{0,20}|let's (?:go|see|start|continue)",
      "(?:nice|good|great|lovely|pleased|glad|sorry|happy) to (?:meet|see|hear|talk|chat)\\b.{0,40}|oh my(?: god| gosh| goodness)?",
      "(?:i(?:'m| am)? )?(?:also |just |really |so |pretty |very |doing |can |can't |could |do |feel )*" +
        "(?:see|agree|understand|know|guess|bet|fine|good|great|ok|okay|well|sorry|kidding|curious|imagine|feel (?:you|ya)|you|ya)" +
        "(?: (?:thanks|thank you|thank|too|and|and you|you|yourself|that|what you mean|right|so|today|as well|with you|completely|totally|for asking|here))*",
    ].join("|") +
    ")$",
);

/** Leads of a guess, a wish or a feeling about somebody or something else; what follows is looked at by itself. */
const SUPPOSITION = new RegExp(
  "^(?:(?:i|i'm|im|i am|i'd|i'll|i would|i can|i can't|i cannot|i could) )?(?:(?:just|really|only|also|do|don't|even|so|very|pretty|definitely) )*(?:" +
    "(?:sure|imagine|sorry|glad|happy|proud|amazed|impressed|surprised|shocked|jealous|confident|guess|hope|bet)\\b(?! to\\b| on\\b)|" +
    "(?:agree|understand|believe|think|doubt|know|see|hear|heard|say|wish|blame|sorry to|glad to|happy to)\\b" +
    "(?= (?:(?:that|how|what|why|if|when|where|for|about|with|hear|know|see|say) )*(?:you|your|you're|you'd|it|it's|its|that|that's|he|she|they|this|these|those|things)\\b))",
);

/** Short words to the one spoken to, and what the two might do next; not what the user said before or wants to be called. */
const OFFER =
  /^(?!.*\b(?:my|mine|our|call me|told|name)\b)(?=.*\b(?:you|your|ya)\b)(?:(?:maybe |then |and |so |but |well )*(?:i'd|i would|i'll|i will|i can|i could|i might|i may|i should)\b|(?:\S+(?: |$)){1,8}$)|^(?!.*\b(?:my|mine|our)\b)(?:maybe |then |and |so )*(?:we(?:'ll| will| can| could| should)|let's|lets)\b/;

const ASKS_FOR_ME = /^(?:please )?(tell|give|show|help|teach|remind|send|let) me\b/;

/** Remarks about what was just said, and words about the one spoken to. */
const REMARK = new RegExp(
  "^(?:(?:and|but|so|well|maybe|because|if|hope|when|yet) )*(?:" +
    [
      "(?:that|that's|thats|sounds?|looks? like|how \\w+|what an?|there'?s?|take care|have (?:a|fun))\\b",
      "(?:it|it's|its|this)\\b(?:(?: \\S+){0,2}$|.*\\b(?:good|great|nice|bad|cool|hard|fun|important|interesting|amazing|awesome|best)\\b)",
      "(?:(?:very|so|too|a|pretty|really) )*(?:good|great|best|excellent|cool|bad|nice|interesting)\\b(?: \\S+){0,2}$",
      "(?:\\S+ ){0,4}(?:must|would|could|should|might|may|will|can)(?:n't)?\\b",
    ].join("|") +
    ")|\\b(?:you|your|you're|you've|you'll|you'd|yours|yourself|ya)\\b",
);

/** Beginnings of requests for the task at hand. */
const REQUEST =
  /^(?:now |then |and |just )?(?:write|rewrite|translate|explain|summari[sz]e|give|show|tell|list|fix|debug|make|create|generate|find|search|describe|compare|convert|calculate|solve|suggest|recommend|check|continue|go on|stop|try|repeat|rephrase|shorten|define|help|look up|draft|proofread|answer)\b/;
