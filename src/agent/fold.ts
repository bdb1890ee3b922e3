/** One spelling for texts that differ only in case, spaces, punctuation or Unicode form, with the way back to the original. */

/** A folded text. Unit `i` of `text` comes from `source.slice(starts[i], ends[i])`. */
export interface FoldedText {
  source: string;
  text: string;
  starts: number[];
  ends: number[];
}

/** NFKC, lower case, apostrophes and invisible characters removed, other punctuation and white space as one space, trimmed. Folding twice changes nothing. */
export function fold(text: string): string {
  return foldWithPlaces(text).text;
}

/** As `fold`, remembering where each unit came from. */
export function foldWithPlaces(source: string): FoldedText {
  const folded: FoldedText = { source, text: "", starts: [], ends: [] };
  const pieces: string[] = [];
  let gap: { start: number; end: number } | null = null;
  for (const match of source.matchAll(CHARACTER)) {
    const start = match.index;
    const end = start + match[0].length;
    for (const unit of foldCharacter(match[0])) {
      if (unit === " ") {
        gap ??= { start, end };
        continue;
      }
      if (gap && pieces.length > 0) {
        pieces.push(" ");
        folded.starts.push(gap.start);
        folded.ends.push(gap.end);
      }
      gap = null;
      pieces.push(unit);
      for (let index = 0; index < unit.length; index++) {
        folded.starts.push(start);
        folded.ends.push(end);
      }
    }
  }
  folded.text = pieces.join("");
  return folded;
}

/** A character with the marks that compose with it: what Unicode normalisation never looks beyond. */
const CHARACTER = /[\s\S][\p{M}\u1160-\u11ff\u3131-\u318e\ud7b0-\ud7ff\uff9e-\uffdc]*/gu;

/** Not punctuation here, since words are spelt with them: C#, R&D, 50 %, @name. */
const SPACE = /[\p{Z}\p{Cc}<>|]|(?![#&@%])\p{P}/u;
const APOSTROPHE = /['\u2018\u2019\u201b\u02bc\u02b9`\u00b4\uff07\u2032]/gu;
const INVISIBLE = /\p{Default_Ignorable_Code_Point}/gu;

function foldCharacter(character: string): string[] {
  if (/^[a-z0-9]$/.test(character)) {
    return [character];
  }
  const plain = character.replace(APOSTROPHE, "").replace(INVISIBLE, "").normalize("NFKC").toLowerCase().normalize("NFKC");
  return [...plain.replace(APOSTROPHE, "").replace(INVISIBLE, "").replace(/ς/g, "σ")].map((unit) => (SPACE.test(unit) ? " " : unit));
}
