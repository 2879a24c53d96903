// The row of a file that a fault speaks of, read in this browser: the service never sends back what it refused.

/** Characters of a row that are shown, and kept while it is read. */
export const MOST = 20_000;

export interface FoundRow {
  text: string;
  /** Its whole length, in characters. */
  length: number;
}

// Codes that speak of lines of a CSV file; all others count its rows.
const OF_LINES = /^(csv_|json_|dataset_encoding|row_too|too_deep|duplicate_key|non_finite|number_too|lone_|forbidden_)/;

/** `unseen`: the file isn't text. `missing`: it ends before the row. */
export type Found = FoundRow | "unseen" | "missing";

/** What names a row: its number, from 1, and the fault's code, which says how rows are counted. */
export interface Place {
  line: number;
  code: string;
}

/** The rows of several faults, in their order; the file is read once, of a table at most twice. */
export async function rowsOf(file: File, places: readonly Place[]): Promise<readonly Found[]> {
  const head = (await file.slice(0, 4096).text()).replace(/^\ufeff/, "");
  if (head.startsWith("PAR1") || head.includes("\0")) return places.map(() => "unseen");
  const array = /^\s*\[/.test(head);
  const csv = !array && !/^\s*\{/.test(head);
  const counted = (one: Place): boolean => csv && !OF_LINES.test(one.code);
  const number = (one: Place): number => (counted(one) ? one.line + 1 : one.line); // the first record names the columns
  const numbers = (of: readonly Place[]): ReadonlySet<number> => new Set(of.map(number));
  const plain = await some(file, array ? elements() : lines(), numbers(places.filter((one) => !counted(one))));
  const quoted = await some(file, records(), numbers(places.filter(counted)));
  return places.map((one) => (counted(one) ? quoted : plain).get(number(one)) ?? "missing");
}

/** Sees signs one after the other and tells of each whether a row begins (1), goes on (0), or stands between rows (-1). */
type Cutter = (sign: string) => -1 | 0 | 1;

async function some(file: File, cut: Cutter, wanted: ReadonlySet<number>): Promise<ReadonlyMap<number, FoundRow>> {
  const found = new Map<number, FoundRow>();
  const last = Math.max(0, ...wanted);
  if (last === 0) return found;
  let at = 0;
  let length = 0;
  let text = "";
  const keep = (): void => {
    if (wanted.has(at)) found.set(at, { text: text.trimEnd(), length });
  };
  const reader = file.stream().pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      for (const sign of value ?? "") {
        const kind = cut(sign);
        if (kind === 1) {
          keep();
          if (at === last) return found;
          [at, length, text] = [at + 1, 0, ""];
        }
        if (kind === -1 || !wanted.has(at)) continue;
        length += sign.length;
        if (text.length < MOST) text += sign;
      }
    }
    keep();
  } finally {
    void reader.cancel();
  }
  return found;
}

function lines(): Cutter {
  let fresh = true;
  return (sign) => {
    const begins = fresh;
    fresh = sign === "\n";
    return begins ? 1 : 0;
  };
}

/** Rows of a CSV file: a newline in quotes ends none, and empty lines are none. */
function records(): Cutter {
  let quoted = false;
  let within = false;
  return (sign) => {
    if (sign === '"') quoted = !quoted;
    if (!quoted && (sign === "\n" || sign === "\r")) {
      within = false;
      return -1;
    }
    const begins = !within;
    within = true;
    return begins ? 1 : 0;
  };
}

/** Elements of a JSON array, whatever they are: told apart by the commas of its own depth. */
function elements(): Cutter {
  let depth = 0;
  let string = false;
  let escaped = false;
  let within = false;
  return (sign) => {
    if (string) {
      if (!escaped && sign === '"') string = false;
      escaped = !escaped && sign === "\\";
      return 0;
    }
    const outer = depth;
    if (sign === "{" || sign === "[") depth += 1;
    if (sign === "}" || sign === "]") depth -= 1;
    if (outer === 0 || depth === 0 || (outer === 1 && (sign === "," || /\s/.test(sign) && !within))) {
      within = false;
      return -1;
    }
    if (sign === '"') string = true;
    const begins = !within;
    within = true;
    return begins ? 1 : 0;
  };
}
