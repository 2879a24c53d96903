import { t } from "../../texts";

const LONG = 24;

/** Any JSON, as terms with what they are; a long list is told by its beginning. */
export function Tree({ value }: { value: unknown }) {
  if (Array.isArray(value)) {
    if (value.every((one) => typeof one !== "object" || one === null)) {
      const said = value.slice(0, LONG).map(plain).join(", ");
      return <span class="run-leaf">{value.length === 0 ? t.none : said}{value.length > LONG && ` … (${value.length})`}</span>;
    }
    return <ol class="run-tree">{value.slice(0, LONG).map((one, index) => <li key={index}><Tree value={one} /></li>)}{value.length > LONG && <li>… ({value.length})</li>}</ol>;
  }
  if (typeof value === "object" && value !== null) {
    return (
      <dl class="run-tree">
        {Object.entries(value).map(([key, one]) => <div key={key}><dt>{key}</dt><dd><Tree value={one} /></dd></div>)}
      </dl>
    );
  }
  return <span class="run-leaf" dir="auto">{plain(value)}</span>;
}

function plain(value: unknown): string {
  return value === null || value === undefined ? t.none : String(value);
}
