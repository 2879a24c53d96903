import { t } from "../texts";
import "./sample.css";

/** A prompt, and what each has said to it, side by side: text, whatever it holds. */
export function Sample({ prompt, said }: { prompt: string; said: readonly (readonly [name: string, text: string])[] }) {
  return (
    <section class="sample">
      <h3 dir="auto">{prompt}</h3>
      <div>
        {said.map(([name, text]) => (
          <figure key={name}>
            <figcaption>{name}</figcaption>
            <blockquote dir="auto" tabIndex={0}>{text || t.none}</blockquote>
          </figure>
        ))}
      </div>
    </section>
  );
}
