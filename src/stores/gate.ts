/**
 * The queue in front of the embedded database's single connection. Work a user waits for goes before background work;
 * within each kind, first come, first served.
 */
export class Gate {
  readonly #foreground: (() => void)[] = [];
  readonly #background: (() => void)[] = [];
  #busy = false;

  /** Resolves with a function that lets the next one in; it must be called once. */
  async enter(background: boolean): Promise<() => void> {
    if (this.#busy) {
      await new Promise<void>((resolve) => (background ? this.#background : this.#foreground).push(resolve));
    }
    this.#busy = true;
    let left = false;
    return () => {
      if (left) {
        return;
      }
      left = true;
      const next = this.#foreground.shift() ?? this.#background.shift();
      if (next) {
        next();
      } else {
        this.#busy = false;
      }
    };
  }
}
