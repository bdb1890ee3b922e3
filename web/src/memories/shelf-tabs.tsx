import type { Shelf } from "./use-memories.ts";

const NAMES: Record<Shelf, string> = { current: "In use", review: "To review", past: "Past" };

export function ShelfTabs({ shelf, toReview, onShelf }: { shelf: Shelf; toReview: number; onShelf: (shelf: Shelf) => void }) {
  return (
    <fieldset className="shelves">
      <legend className="visually-hidden">Which memories</legend>
      {(Object.keys(NAMES) as Shelf[]).map((name) => (
        <button key={name} type="button" aria-pressed={name === shelf} onClick={() => onShelf(name)}>
          {NAMES[name]}
          {name === "review" && toReview > 0 && <span className="dot dot-warning">{toReview}</span>}
        </button>
      ))}
    </fieldset>
  );
}
