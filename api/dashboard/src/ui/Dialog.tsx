import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../texts";
import { Button } from "./Button";
import { Icon } from "./Icon";
import { modals, Toasts } from "./toast";

interface Props {
  open: boolean;
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  /** A drawer slides in from the side and takes the height of the window. */
  as?: "box" | "drawer";
  /** A press beside it doesn't close it: what it holds would be lost. */
  firm?: boolean;
  /** Nor does Escape: what it shows is shown this once. */
  strict?: boolean;
}

/** The browser's own dialog: it keeps the focus inside, closes on Escape, and gives the focus back. */
export function Dialog({ open, title, onClose, children, as = "box", firm = false, strict = false }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    if (open && !box.current?.open) box.current?.showModal();
    if (!open) box.current?.close();
    if (!open) return undefined;
    modals.change((all) => [...all, id]);
    return () => modals.change((all) => all.filter((one) => one !== id));
  }, [open, id]);
  // Beside it: a text that is marked may end there, and closes nothing; nor does the second press of what opened it.
  const pressed = useRef(false);
  const outside = (event: MouseEvent): void => {
    if (!firm && pressed.current && event.target === box.current) onClose();
  };
  return (
    <dialog ref={box} class={as} aria-labelledby={id} onClose={() => open && onClose()} onMouseDown={(event) => { pressed.current = event.target === box.current && event.detail === 1; }} onCancel={(event) => strict && event.preventDefault()} onClick={outside}>
      {open && (
        <div class="dialog-body">
          <header><h2 id={id}>{title}</h2><Button kind="quiet" label={t.close} onClick={onClose}><Icon name="cross" /></Button></header>
          {children}
        </div>
      )}
      {open && <Toasts within={id} />}
    </dialog>
  );
}
