import type { ComponentChildren } from "preact";

export interface Column<T> {
  head: string;
  cell: (row: T) => ComponentChildren;
  /** Numbers stand right, with digits of one width. */
  number?: boolean;
  /** What a narrow window can do without. */
  wide?: boolean;
  /** Buttons: no head is shown, only read out. */
  bare?: boolean;
}

interface Props<T> {
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  id: (row: T) => string;
}

/**
 * Rows under heads, in a frame of its own that scrolls sideways, so that the page never does. In a narrow window each
 * row stands by itself, its heads beside what belongs to them; the roles say that it is a table all the same.
 */
export function Table<T>({ label, columns, rows, id }: Props<T>) {
  const kind = (one: Column<T>): string => `${one.number ? "number" : ""} ${one.wide ? "wide" : ""}`.trim();
  return (
    <div class="table" role="region" aria-label={label} tabIndex={0}>
      <table role="table">
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((one) => (
              <th key={one.head} role="columnheader" scope="col" class={kind(one)}>{one.bare ? <span class="sr-only">{one.head}</span> : one.head}</th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map((row) => (
            <tr key={id(row)} role="row">
              {columns.map((one) => <td key={one.head} role="cell" class={kind(one)} data-head={one.bare ? "" : one.head}>{held(one.cell(row))}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** One box for whatever a cell holds; none where it holds nothing. */
function held(content: ComponentChildren): ComponentChildren {
  return content === null || content === undefined || content === false || content === "" ? null : <div>{content}</div>;
}
