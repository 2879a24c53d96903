import { figure } from "../../format";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Icon } from "../../ui/Icon";
import { Card } from "../../ui/Page";
import { Clip, Copy } from "../../ui/Text";
import type { Answer } from "./ask";
import { named, type Askable } from "./models";
import { isOpen, type Exchange } from "./useTalk";

const words = t.playground;

interface Props {
  exchange: Exchange;
  askable: Askable;
  onStop: (place: number) => void;
  onAgain: (place: number) => void;
}

/** A question, and what each model says to it, side by side. */
export function Asked({ exchange, askable, onStop, onAgain }: Props) {
  const { prompt, how, seed } = exchange.question;
  return (
    <Card class="playground-exchange">
      <h2 class="playground-prompt" dir="auto" title={prompt}>{prompt}</h2>
      <p class="faint">{words.how[how]} · {t.seedNamed(seed)}</p>
      <div class="playground-answers">
        {exchange.answers.map((answer, place) => (
          <Said key={place} answer={answer} name={named(answer.model, askable)} onStop={() => onStop(place)} onAgain={() => onAgain(place)} />
        ))}
      </div>
    </Card>
  );
}

function Said({ answer, name, onStop, onAgain }: { answer: Answer; name: string; onStop: () => void; onAgain: () => void }) {
  return (
    <section class="playground-answer" aria-label={name}>
      <h3 class="clip"><Clip text={name} /></h3>
      {answer.text
        ? <div class={`playground-text ${answer.state}`} dir="auto" role="region" aria-label={words.saidBy(name)} tabIndex={0}>{answer.text}</div>
        : answer.state === "whole" && <p class="faint">{words.nothing}</p>}
      {answer.problem && (
        <p class="notice bad" role="alert">{answer.problem.message} <code>{answer.problem.code}</code></p>
      )}
      <footer>
        <span class="faint" role="status">{told(answer)}</span>
        <span class="actions">
          {isOpen(answer) && <Button kind="quiet" label={words.stopNamed(name)} onClick={onStop}><Icon name="stop" />{words.stop}</Button>}
          {!isOpen(answer) && answer.text && <Copy text={answer.text} />}
          {(answer.state === "failed" || answer.state === "stopped") && <Button kind="quiet" label={words.againNamed(name)} onClick={onAgain}>{t.retry}</Button>}
        </span>
      </footer>
    </section>
  );
}

function told(answer: Answer): string {
  if (answer.state === "waiting" && answer.reason) return words.waitsFor(answer.reason);
  if (answer.state !== "whole") return words.state[answer.state];
  const size = words.size(answer.tokens ?? 0, figure(answer.seconds, 2));
  return answer.ended === "length" ? `${size} · ${words.cut}` : size;
}
