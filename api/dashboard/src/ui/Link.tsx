import type { ComponentChildren } from "preact";
import { BASE, go } from "../router";

interface Props {
  /** A place of the page: `/runs/job_x?tab=log`. */
  to: string;
  children: ComponentChildren;
  class?: string;
  title?: string;
  "aria-current"?: "page";
}

/** A link within the page: a real one, so that it can be opened elsewhere and copied. */
export function Link({ to, children, ...rest }: Props) {
  const follow = (event: MouseEvent): void => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return <a href={BASE + to} onClick={follow} {...rest}>{children}</a>;
}
