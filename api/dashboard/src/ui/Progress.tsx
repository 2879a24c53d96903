/** How far something is. Without a known end it only shows that it goes on. */
export function Progress({ value, of = 1, label }: { value: number | undefined; of?: number; label: string }) {
  return <progress max={of} aria-label={label} {...(value === undefined ? {} : { value })} />;
}
