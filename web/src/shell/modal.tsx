import { type ReactNode, useEffect, useRef } from "react";
import { IconButton } from "./icon-button.tsx";

interface ModalProps {
  title: string;
  onClose: () => void;
  children: ReactNode;
}

/** Above the page, until it is closed: by Escape, its button or a click beside it. */
export function Modal({ title, onClose, children }: ModalProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes it, and so does a button; the backdrop is for pointers.
    <dialog
      ref={dialog}
      className="modal"
      aria-label={title}
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current.close()}
    >
      <div className="modal-body">
        <header>
          <h2>{title}</h2>
          <IconButton icon="close" label="Close" onClick={() => dialog.current?.close()} />
        </header>
        {children}
      </div>
    </dialog>
  );
}
