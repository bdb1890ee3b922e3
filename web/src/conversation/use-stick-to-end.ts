import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

/** So near to the end (px) counts as being there. */
const NEAR = 80;

export interface End {
  scroller: RefObject<HTMLDivElement | null>;
  /** The reader has scrolled up, so new text does not move the page. */
  away: boolean;
  /** Goes to the end and stays there. */
  stick: () => void;
}

/** Keeps the newest text in sight while the reader is at the end. */
export function useStickToEnd(content: unknown): End {
  const scroller = useRef<HTMLDivElement>(null);
  const sticking = useRef(true);
  const [away, setAway] = useState(false);

  useEffect(() => {
    const element = scroller.current;
    const onScroll = (): void => {
      if (element) {
        sticking.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR;
        setAway(!sticking.current);
      }
    };
    element?.addEventListener("scroll", onScroll, { passive: true });
    return () => element?.removeEventListener("scroll", onScroll);
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: new content is what moves the end.
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element && sticking.current) {
      element.scrollTop = element.scrollHeight;
    }
  }, [content]);

  const stick = useCallback(() => {
    sticking.current = true;
    setAway(false);
    scroller.current?.scrollTo({ top: scroller.current.scrollHeight });
  }, []);
  return { scroller, away, stick };
}
