import { type FormEvent, type KeyboardEvent, useEffect, useLayoutEffect, useRef } from "react";
import { Icon } from "../shell/icon.tsx";

interface ComposerProps {
  text: string;
  onText: (text: string) => void;
  onSend: (text: string) => void;
  onStop: () => void;
  /** A reply is being written, which can be stopped. Another message may be sent; it waits for its turn. */
  answering: boolean;
}

export function Composer({ text, onText, onSend, onStop, answering }: ComposerProps) {
  const field = useRef<HTMLTextAreaElement>(null);
  const empty = text.trim() === "";
  // Fingers get their keyboard when they ask for it.
  useEffect(() => {
    if (matchMedia("(hover: hover)").matches) {
      field.current?.focus();
    }
  }, []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text.
  useLayoutEffect(() => {
    const element = field.current;
    if (element) {
      element.style.height = "auto";
      element.style.height = `${element.scrollHeight}px`;
    }
  }, [text]);

  const submit = (event?: FormEvent): void => {
    event?.preventDefault();
    if (!empty) {
      onSend(text);
      field.current?.focus();
    }
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    // While an input method composes a character, Enter is its own.
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      submit();
    }
  };
  return (
    <form className="composer" onSubmit={submit}>
      <div className="composer-box">
        <textarea
          id="message"
          ref={field}
          rows={1}
          aria-label="Message"
          aria-describedby="message-keys"
          placeholder="Write a message"
          enterKeyHint="send"
          value={text}
          onChange={(event) => onText(event.target.value)}
          onKeyDown={onKeyDown}
        />
        {answering && empty ? (
          <button type="button" className="round" aria-label="Stop" title="Stop (Esc)" onClick={onStop}>
            <Icon name="stop" />
          </button>
        ) : (
          <button type="submit" className="round" aria-label="Send" title="Send (Enter)" disabled={empty}>
            <Icon name="send" />
          </button>
        )}
      </div>
      <p id="message-keys" className="keys">
        <kbd>Enter</kbd> sends, <kbd>Shift</kbd>+<kbd>Enter</kbd> makes a new line, <kbd>Esc</kbd> stops
      </p>
    </form>
  );
}
