import type { ReactNode } from "react";
import type { Problem } from "../api/problem.ts";

interface ProblemViewProps {
  problem: Problem;
  /** What can be done about it from here. */
  children?: ReactNode;
}

/** The server's own words, which end with the remedy; its code, for whoever has to look it up. */
export function ProblemView({ problem: { code, message, errorId }, children }: ProblemViewProps) {
  return (
    <div className="problem" role="alert">
      <p>{message}</p>
      <p className="problem-code">
        {code}
        {errorId && ` · ${errorId}`}
      </p>
      {children && <div className="actions">{children}</div>}
    </div>
  );
}
