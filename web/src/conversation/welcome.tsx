const EXAMPLES = [
  "Hi! My name is Alice. I love hiking and photography. I work as a data scientist.",
  "What are my hobbies?",
  "What do you know about me?",
];

/** What a new conversation begins with. */
export function Welcome({ onPick }: { onPick: (message: string) => void }) {
  return (
    <section className="welcome">
      <h2>What is on your mind?</h2>
      <p>
        Say something about yourself. What lasts is remembered, with your own words as its reason, and used in every later conversation.
      </p>
      <ul>
        {EXAMPLES.map((example) => (
          <li key={example}>
            <button type="button" onClick={() => onPick(example)}>
              {example}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
