export function Wordmark() {
  return (
    <span className="wordmark">
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <circle cx="16" cy="16" r="13" opacity=".35" />
        <circle cx="16" cy="16" r="8" opacity=".65" />
        <circle cx="16" cy="16" r="3" className="core" />
      </svg>
      Recollect
    </span>
  );
}
