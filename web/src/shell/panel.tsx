import { type ReactNode, useEffect, useRef } from "react";
import { IconButton } from "./icon-button.tsx";

interface PanelProps {
  label: string;
  side: "left" | "right";
  /** Stands beside the conversation; else it is a sheet above it, which is there while it is open. */
  beside: boolean;
  open: boolean;
  onClose: () => void;
  children: ReactNode;
}

export function Panel({ label, side, beside, open, onClose, children }: PanelProps) {
  if (beside) {
    const Landmark = side === "left" ? "nav" : "aside";
    return (
      <Landmark className={`panel panel-${side}`} aria-label={label}>
        {children}
      </Landmark>
    );
  }
  return open ? (
    <Sheet label={label} side={side} onClose={onClose}>
      {children}
    </Sheet>
  ) : null;
}

/** The browser keeps the focus in it, closes it at Escape and gives the focus back. */
function Sheet({ label, side, onClose, children }: Pick<PanelProps, "label" | "side" | "onClose" | "children">) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes it, and so does a button; the backdrop is for pointers.
    <dialog
      ref={dialog}
      className={`sheet sheet-${side}`}
      aria-label={label}
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current.close()}
    >
      <div className={`panel panel-${side}`}>
        <IconButton className="sheet-close" icon="close" label={`Close ${label.toLowerCase()}`} onClick={() => dialog.current?.close()} />
        {children}
      </div>
    </dialog>
  );
}
